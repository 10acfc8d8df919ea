"""When a number is not finite: why (`diagnosis`), and going back (`rescue`)."""
