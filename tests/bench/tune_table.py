"""What tests/bench/tune.sh measured, as a table.

    tune_table.py --chosen FOLDER FAMILY     a line for each kernel: its key and the schedules that have to meet, `;` between them
    tune_table.py FOLDER FAMILY ..           the table

Of each kernel there are: zero, the default; best, what the wide search chose; in8, the best of the first eight candidates by the
wide search's times; eight, what the search of eight chose. All meet in the same races; a race gives the median over its rounds of
the ratio to the default's time, and the middle one of the races counts. Behind the best are then

    without a search    zero/best
    of eight            eight/best     =   candidates  in8/best   (the best was not among the eight)
                                         * choice      eight/in8  (it was, and another was taken)

Where the best of the wide search is found slower than another of these, that one is the best: nothing is below 0.
"""
import json, math, sys


def load(name):
    with open(name) as file:
        return json.load(file)


def candidates(folder, family):
    """key -> [(candidate's number, schedule, ratio to the default, last races' ratio or 0)], and key -> description"""
    found, about = {}, {}
    for t in load(f"{folder}/{family}.json")["timings"]:
        if "candidate" not in t:
            continue                                     # of another model
        if t["outcome"] != "ok":
            print("FAILED:", t["outcome"], t["schedule"], t["about"], file=sys.stderr)
        elif t["default_seconds"] > 0:
            found.setdefault(t["kernel"], []).append((t["candidate"], t["schedule"], t["seconds"]/t["default_seconds"], t.get("final_ratio", 0)))
            about[t["kernel"]] = t["about"]
    return found, about


def best(rows):
    """The best: of those that ran the last races, if any beats the default there; otherwise of all that did not run them."""
    raced = [(final, schedule) for _, schedule, _, final in rows if 0 < final < 1]
    if raced:
        return min(raced)[1]
    return min([(1, "default")] + [(ratio, schedule) for _, schedule, ratio, final in rows if final == 0])[1]


def chosen(folder, family):
    """key -> (best, in8, eight), and key -> description"""
    wide, about = candidates(f"{folder}/wide", family)
    winners = load(f"{folder}/eight/{family}.json")["best"]
    few = {key: [row for row in rows if row[0] < 8] for key, rows in wide.items()}
    return {key: (best(rows), best(few[key]), winners.get(key, "default")) for key, rows in wide.items()}, about


def middle(values):
    return sorted(values)[len(values)//2]


def met(folder, family, key):
    """schedule -> its ratio to the default"""
    ratios = {}
    for heat in load(f"{folder}/heats/{family}.{key}.json")["heats"]:
        if heat["schedule"] != "default" and heat["outcome"] == "ok":
            ratios.setdefault(heat["schedule"], []).append(heat["ratio"])
    return {"default": 1.0} | {schedule: middle(r) for schedule, r in ratios.items()}


def mean(values):
    return 100*(math.exp(sum(map(math.log, values))/len(values)) - 1) if values else 0


def main():
    if sys.argv[1] == "--chosen":
        for key, schedules in chosen(sys.argv[2], sys.argv[3])[0].items():
            print(key, "; ".join(sorted(set(schedules) - {"default"}) or ["default"]))
        return
    folder, families = sys.argv[1], sys.argv[2:]
    lines, every = [], []
    print("| family | kernel | without a search | of eight | candidates | choice | best schedule |\n|---|---|--:|--:|--:|--:|---|")
    for family in families:
        choice, about = chosen(folder, family)
        behind = []
        for key, (of_wide, in8, eight) in sorted(choice.items(), key=lambda item: about[item[0]]):
            ratio = met(folder, family, key)
            least = min(ratio[s] for s in (of_wide, in8, eight, "default"))
            within = min(ratio[s] for s in (in8, eight, "default"))
            row = (1/least, ratio[eight]/least, within/least, ratio[eight]/within)
            behind.append(row)
            print(f"| {family} | {about[key][:60]} | " + " | ".join(f"{100*(x - 1):.1f} %" for x in row) + f" | {of_wide} |")
        lines.append((family, behind))
        every += behind
    print("\n| family | kernels | without a search | of eight | candidates | choice |\n|---|--:|--:|--:|--:|--:|")
    for family, behind in lines + [("**all**", every)]:
        print(f"| {family} | {len(behind)} | " + " | ".join(f"{mean([row[i] for row in behind]):.1f} %" for i in range(4)) + " |")


main()
