"""The eyes and the judgement: sensors, detectors, and the loop that joins them to rules.

    eye (a process for each hostile source) ── readings ──► loop ── detectors ── rules ── arbiter
                                                             │                     ▲
                                     stop order ──► warden   ├─► findings, decisions ──► recorder
                                                             └─► onlookers: survey, readings

    sensors/     one kind each; what several of them need has a room of its own:
                 http/ otlp/ scrape/ alerts/ (what speaks HTTP), rows/ (data sets), logs/ (lines),
                 tampering/ (who touches the stop)
    detectors/   one kind each, told one series a reading at a time
    survey/      every series at once, behind one gate
    readings/    what was read in the last days, and what a rule would have done with it
    desk/        where people answer what rules ask, lower them for a while, apply a configuration

Nothing is imported here.
"""
