"""The shell: wires, disks, servers."""
