"""The bitmap branch's binding, as scripts write it for a library that they are handed."""

import ctypes


class Memcov:
    def __init__(self, library):
        for name in ("get_hitbits", "set_hitbits", "reset_bitmap", "get_bitmap_bytes"):
            setattr(self, name, getattr(library, f"mcov_{name}"))
        self._library = library
        self._Bytes = ctypes.c_char * self.get_bitmap_bytes()

    def get_hitmap_buffer(self):
        data = bytearray(self.get_bitmap_bytes())
        self._library.mcov_copy_bitmap(self._Bytes.from_buffer(data))
        return data

    def set_hitmap_buffer(self, data):
        assert len(data) == self.get_bitmap_bytes()
        self._library.mcov_set_bitmap(self._Bytes.from_buffer(data))
