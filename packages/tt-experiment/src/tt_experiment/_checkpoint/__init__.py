"""One checkpoint and the folder of many: staging, writing, finding, keeping."""
