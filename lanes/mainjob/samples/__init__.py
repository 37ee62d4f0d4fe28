"""Three ready-made workloads (customer messages, an archive, comments), with labelled items to try Lanes on."""
