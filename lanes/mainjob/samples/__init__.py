"""Two ready-made workloads, customer messages and an archive, with labelled items to try Lanes on."""
