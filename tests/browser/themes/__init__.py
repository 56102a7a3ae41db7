"""Tests with themes that replace the admin's templates: each lane installs one, which `THEME` names."""
