"""A project with django-tenants, which has a schema for each tenant."""
