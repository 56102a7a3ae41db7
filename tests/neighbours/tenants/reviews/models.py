from __future__ import annotations

from django.db import models


class Review(models.Model):
    text = models.TextField()
    tags = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.text
