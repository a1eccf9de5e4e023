"""What the machine is told of us: the systemd units, which `offswitch install` puts in place.

In them `@PYTHON@` stands for the interpreter that has this package, an absolute path.
"""
