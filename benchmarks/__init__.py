"""How fast is `fit`, beside other loops that do the same work? `make bench` measures, `book/speed.md` shows it.

    cases.py        the models, the images, the settings
    contestants.py  the loops; a new one is one function there
    worker.py       the process of one contestant
    measure.py      starts the workers, checks that they do the same work, times them in turn, keeps the results
    environment.py  what the measurement ran on
    report.py       tables, plots and sentences from the results
    claims.py       the sentences of the page that name a ratio, and the ratio
"""
