"""From other people's files to a dataset folder: MovieLens, Amazon reviews, MIND, any table."""
