"""Packet sources: everything that turns a capture file into `PacketBatch`es, and back."""
