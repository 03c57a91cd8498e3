import journal_1m

import hitmap

run = hitmap.harness(journal_1m.run)
