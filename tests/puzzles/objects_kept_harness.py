import hitmap
import objects_kept

kept = []


@hitmap.harness
def run(data):
    objects_kept.run(data)
    kept.append([object() for _ in range(200)])
