import journal_1k

import hitmap

run = hitmap.harness(journal_1k.run)
