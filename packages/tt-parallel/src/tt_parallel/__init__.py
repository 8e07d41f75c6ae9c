"""DataParallel, DistributedDataParallel and mixed precision behind one small interface."""
