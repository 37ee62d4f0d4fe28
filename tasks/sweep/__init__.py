"""The sweep: everything that waits has somebody who comes for it. Each person of it is a file, with its duty and its test."""
