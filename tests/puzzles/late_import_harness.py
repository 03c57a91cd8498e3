import hitmap


@hitmap.harness
def run(data):
    import late_import

    late_import.run(data)
