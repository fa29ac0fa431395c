"""Gates: does a run keep what a baseline promises? Decisions here, their rendering for people and machines beside them."""
