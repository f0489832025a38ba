"""DeepLabCut: CollectedData_<scorer>.csv and .h5."""
