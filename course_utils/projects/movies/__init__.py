"""The movie recommender: films, wishes, one form of an answer."""
