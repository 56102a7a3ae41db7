"""A project whose tenants have a schema each, by django-tenants."""
