"""The pages in the themes that replace the admin's templates: each lane installs one, and `THEME` names it."""
