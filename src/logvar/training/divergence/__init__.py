"""When a number is not finite: find the cause (`diagnosis`), or go back and retry (`rescue`)."""
