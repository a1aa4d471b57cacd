from tests.integration.library_api.rig import LibraryRig


def test_a_scan_registers_what_is_new(library: LibraryRig):
    library.put("shows/one.mp4")
    library.put("two.wav")
    library.put("notes.txt")
    first = library.ask("POST", "/api/assets/scan", {})
    assert (first.status, first.body["found"], first.body["registered"]) == (200, 2, 2)
    assert first.body["files"] == ["shows/one.mp4", "two.wav"]
    again = library.ask("POST", "/api/assets/scan", {"prefix": "shows/"})
    assert (again.body["found"], again.body["registered"], again.body["skipped"]) == (1, 0, 1)
