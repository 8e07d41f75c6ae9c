"""The parts of `tt_cloud.testing.StoreContract`, by what they test."""
