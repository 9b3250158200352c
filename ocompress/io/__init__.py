"""Reading and writing files: models with external data, calibration data, atomic writes."""
