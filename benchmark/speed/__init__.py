"""How fast the suite is: beside the field's usual loop, and beside what the device could do."""
