"""Reading: one reader for the images and masks of every format. `docs/data.md` describes its rules."""
