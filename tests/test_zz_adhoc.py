from hw1 import records
def test_it(at_smoke_size):
    f = at_smoke_size("gradient_norm", "redundancy")
    print(sorted(p.name for p in f.rglob("*")))
    assert len(records.read(f, "gradient_norm"))
