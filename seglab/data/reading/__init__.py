"""Reading: one reader for the images and masks of every format. `docs/howto/data.md` describes its rules."""
