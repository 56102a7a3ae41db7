from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
if apps.is_installed("debug_toolbar"):
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns += debug_toolbar_urls()
