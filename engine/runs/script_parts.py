"""The fixed parts of a run's script, as a person would write them; what differs is in constants."""

from __future__ import annotations

READ_JSONL = '''
def read(path):
    """Yield the rows of a JSON Lines file."""
    with open(path, encoding="utf-8-sig", newline="\\n") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
'''
READ_JSON = '''
def read(path):
    """Return the rows of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8-sig"))
'''
READ_TABLE = '''
def read(path):
    """Yield the rows of a table."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, delimiter=DELIMITER)
'''

MESSAGES = '''
def conversation(row):
    """Return the chat messages of a row."""
    messages = list(row[COLUMNS["messages"]])
'''
SHAREGPT = '''
ROLES = {"human": "user", "gpt": "assistant"}


def conversation(row):
    """Return the chat messages of a row."""
    messages = [
        {"role": ROLES.get(turn["from"], turn["from"]), "content": turn["value"]}
        for turn in row[COLUMNS["conversations"]]
    ]
'''
ALPACA = '''
def conversation(row):
    """Return the chat messages of a row."""
    question = row[COLUMNS["instruction"]]
    extra = row.get(COLUMNS.get("input")) or ""
    if extra.strip():
        question = f"{question}\\n\\n{extra}"
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": row[COLUMNS["output"]]},
    ]
'''
PROMPT_COMPLETION = '''
def conversation(row):
    """Return the chat messages of a row."""
    question = row[COLUMNS["prompt"]]
    context = row.get(COLUMNS.get("context")) or ""
    if context.strip():
        question = f"{context}\\n\\n{question}"
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": row[COLUMNS["completion"]]},
    ]
'''
WITHOUT_SYSTEM = "    return messages\n"
SYSTEM = """\
    system = row.get(COLUMNS.get("system")) or SYSTEM_PROMPT
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return messages
"""
RAW_TEXT = '''
def conversation(row):
    """Return the text of a row, which is learnt as it is."""
    return row[COLUMNS["text"]]
'''

TOKENISE_TEXT = '''
def tokenise(text):
    """Return the ids of a text, its marks included, and the range to learn: all of it."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = (*START_IDS, *ids, *END_IDS)
    return ids, ((0, len(ids)),)
'''
_RENDER = '''
def render(messages, prompt=False):
    """Return messages as the text that the model reads."""
    return tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=prompt
    )

'''
TOKENISE_ALL = (
    _RENDER
    + '''
def tokenise(messages):
    """Return the ids of a conversation and the range to learn: all of it."""
    ids = tokenizer(render(messages), add_special_tokens=False)["input_ids"]
    return tuple(ids), ((0, len(ids)),)
'''
)
_CHAT = (
    _RENDER
    + '''
def tokenise(messages):
    """Return the ids of a conversation and the ranges [first, last) to learn."""
    text = render(messages)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, starts = found["input_ids"], [start for start, _ in found["offset_mapping"]]
    ends = [end for _, end in found["offset_mapping"]]
    ranges = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        begin = len(render(messages[:i], prompt=True))
        end = len(render(messages[: i + 1]))
        answer = message["content"].strip()
        said = text.index(answer, begin) + len(answer)
        first, last = bisect_right(ends, begin), bisect_right(ends, end)
        # An answer ends with the token that ends its turn; a line break after it is
        # the template's own.
        for k in range(first, last):
            if ids[k] in tokenizer.all_special_ids and starts[k] >= said:
                last = k + 1
                break
        ranges.append((first, last))
    return tuple(ids), tuple(ranges{chosen})
'''
)
EVERY_ANSWER = _CHAT.replace("{chosen}", "")
LAST_ANSWER = _CHAT.replace("{chosen}", "[-1:]")

TEACHES = '''
def teaches(row):
    """Say whether a row has a token to learn once it is cut; nothing predicts its first."""
    _, ranges = row
    return any(max(first, 1) < min(last, MAX_LENGTH) for first, last in ranges)
'''
TEACHES_WHOLE = '''
def teaches(row):
    """Say whether a row is short enough and has a token to learn; not its first."""
    ids, ranges = row
    return len(ids) <= MAX_LENGTH and any(max(first, 1) < last for first, last in ranges)
'''
PIECES = '''
def pieces(row):
    """Yield a row as arrays (ids, is it learnt), cut at MAX_LENGTH."""
    ids, trained = np.array(row[0], dtype=np.int32), np.zeros(len(row[0]), dtype=bool)
    for first, last in row[1]:
        trained[first:last] = True
    yield ids[:MAX_LENGTH], trained[:MAX_LENGTH]
'''
PIECES_SPLIT = '''
def pieces(row):
    """Yield a text in pieces of MAX_LENGTH as arrays (ids, is it learnt: all of it)."""
    ids = np.array(row[0], dtype=np.int32)
    for start in range(0, len(ids), MAX_LENGTH):
        piece = ids[start : start + MAX_LENGTH]
        if len(piece) > 1:
            yield piece, np.ones(len(piece), dtype=bool)
'''
HELD_OUT = '''
def held_out(rows):
    """Return the numbers of the rows kept aside, drawn from the seed and their tokens."""
    salt = hashlib.blake2b(f"{SPLIT_SEED}-validation".encode(), digest_size=8).digest()
    drawn = []
    for ids, ranges in rows:
        key = hashlib.blake2b(np.array(ids, dtype=np.int32).tobytes(), digest_size=16)
        key.update(repr(ranges).encode())
        x = int.from_bytes(key.digest()[:8], "little") ^ int.from_bytes(salt, "little")
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        drawn.append(x ^ x >> 31)
    last = sorted(drawn)[max(1, round(len(rows) * VALIDATION_SPLIT)) - 1]
    return {i for i, x in enumerate(drawn) if x <= last}
'''
_ROWS_OF = '''
def rows_of(files):
    """Return the rows of some files that have something to learn, each once tokenised."""
    rows = [tokenise(conversation(row)) for path in files for row in read(path)]
    return [row for row in {rows} if teaches(row)]

'''
ROWS_OF = _ROWS_OF.replace("{rows}", "rows")
ROWS_ONCE = _ROWS_OF.replace("{rows}", "dict.fromkeys(rows)")
PREPARE_TRAIN = '''
def prepare():
    """Return the rows to train on, and those to measure on: none."""
    return [piece for row in rows_of(TRAIN_FILES) for piece in pieces(row)], []
'''
PREPARE_SPLIT = '''
def prepare():
    """Return the rows to train on, and those to measure on."""
    rows = rows_of(TRAIN_FILES)
    aside = held_out(rows)
    train = [p for i, row in enumerate(rows) if i not in aside for p in pieces(row)]
    return train, [p for i in sorted(aside) for p in pieces(rows[i])]
'''
PREPARE_TWO = '''
def prepare():
    """Return the rows to train on, and those to measure on."""
    train = [piece for row in rows_of(TRAIN_FILES) for piece in pieces(row)]
    return train, [piece for row in rows_of(VALIDATION_FILES) for piece in pieces(row)]
'''
PREPARE_KEPT = '''
def prepare():
    """Return the rows to train on, and those to measure on, as the run kept them."""
    kept = load_file(Path(__file__).resolve().parent / ROWS_FILE)
    places = [slice(*each) for each in zip(kept["starts"][:-1], kept["starts"][1:])]
    rows = [(kept["ids"][place], kept["trained"][place]) for place in places]
    return rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]
'''
DIGEST = '''
def digest_of(rows):
    """Return the SHA-256 of all tokens and of which are learnt."""
    digest = hashlib.sha256()
    for ids, trained in rows:
        digest.update(ids.tobytes())
        digest.update(trained.tobytes())
    return digest.hexdigest()
'''

_ORDER_HEAD = '''
def micro_batches(lengths, epoch):
    """Return the rows of each micro-batch of an epoch, from the seed and the epoch alone."""
'''
ORDER_FILE = (
    _ORDER_HEAD
    + """\
    rows = list(range(len(lengths)))
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
"""
)
ORDER = (
    _ORDER_HEAD
    + """\
    source, rows = random.Random(f"{SEED}-{epoch}"), list(range(len(lengths)))
    source.shuffle(rows)
    batches = []
    for start in range(0, len(rows), 16 * BATCH):  # rows of like length go together
        near = sorted(rows[start : start + 16 * BATCH], key=lambda i: lengths[i])
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    source.shuffle(batches)
    return batches
"""
)
PACK = '''
def pack(lengths):
    """Put rows together to packs of at most MAX_LENGTH tokens: best fit, longest first."""
    packs, rooms = [], []  # rooms: (tokens left, number of the pack), sorted
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = lengths[row]
        at = bisect_left(rooms, (size, -1))
        if at < len(rooms):
            room, number = rooms.pop(at)
        else:
            room, number = max(size, MAX_LENGTH), len(packs)
            packs.append([])
        packs[number].append(row)
        if room > size:
            insort(rooms, (room - size, number))
    return [sorted(each) for each in packs]
'''
PACK_FILE = '''
def pack(lengths):
    """Put rows together to packs of at most MAX_LENGTH tokens, in file order."""
    packs, room = [], -1
    for row, size in enumerate(lengths):
        if size > room:
            packs.append([])
            room = max(size, MAX_LENGTH)
        packs[-1].append(row)
        room -= size
    return packs
'''
STEPS = '''
def steps_of(rows):
    """Yield the micro-batches of each optimizer step, epoch after epoch."""
    for epoch in itertools.count():
        batches = micro_batches([len(ids) for ids, _ in rows], epoch)
        for start in range(0, len(batches), ACCUMULATION):
            window = batches[start : start + ACCUMULATION]
            yield [[rows[i] for i in batch] for batch in window]
'''
STEPS_PACKED = '''
def steps_of(rows):
    """Yield the micro-batches of each optimizer step, epoch after epoch.

    The rows of a pack stay rows of their own here: none of them saw another in the run.
    """
    packs = pack([len(ids) for ids, _ in rows])
    for epoch in itertools.count():
        filled = [sum(len(rows[i][0]) for i in each) for each in packs]
        batches = micro_batches(filled, epoch)
        for start in range(0, len(batches), ACCUMULATION):
            window = batches[start : start + ACCUMULATION]
            yield [[rows[i] for n in batch for i in packs[n]] for batch in window]
'''

LOSS = '''
def loss_sum(model, rows):
    """Return the cross entropy summed over the learnt tokens of some rows."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, (tokens, trained) in enumerate(rows):
        ids[i, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
        mask[i, : len(tokens)] = 1
        labels[i, : len(tokens)] = torch.from_numpy(np.where(trained, tokens, -100))
    logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
    return F.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        labels[:, 1:].to(device).flatten(),
        ignore_index=-100,
        reduction="sum",
    )


def learnt(rows):
    """Return how many tokens of some rows are learnt."""
    return sum(int(trained[1:].sum()) for _, trained in rows)
'''
LOSS_AUTOCAST = LOSS.replace(
    "    logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits\n",
    "    with torch.autocast(device.type, torch.bfloat16):\n"
    "        logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits\n",
)
VALIDATION = '''
@torch.no_grad()
def validation_loss(model, rows):
    """Return the mean loss over the learnt tokens of some rows."""
    model.eval()
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    total = sum(loss_sum(model, batch).item() for batch in batches)
    model.train()
    return total / learnt(rows)
'''
MAIN_START = '''
def main():
    """Prepare, compare with the run, train, save."""
    train, validation = prepare()
    if digest_of(train + validation) != ROWS_SHA256:
        sys.exit("Other rows than the run's: a file or a version differs")
    print(f"{len(train)} rows to train on, {len(validation)} to measure on")
    if "--check" in sys.argv:
        return
    model = make_model()
    parameters = [p for p in model.parameters() if p.requires_grad]
'''
MAIN_LOOP = """\
    model.train()
    best, kept = math.inf, []
    for step, batches in zip(range(1, LAST_STEP + 1), steps_of(train)):
        count, total = sum(learnt(batch) for batch in batches), 0.0
        for batch in batches:
            loss = loss_sum(model, batch)
            (loss / count).backward()
            total += loss.item()
"""
CLIP = """\
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
"""
MAIN_STEP = """\
        rate = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
"""
MAIN_STEP_TWO = """\
        rate = schedulers[0].get_last_lr()[0]
        for optimizer, scheduler in zip(optimizers, schedulers):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
"""
MAIN_TELL = """\
        print(f"step {step}  loss {total / count:.6f}  rate {rate:.6g}", flush=True)
"""
MAIN_MEASURE = """\
        if step % EVAL_STEPS == 0 or step == LAST_STEP:
            loss = validation_loss(model, validation)
            print(f"step {step}  validation loss {loss:.6f}", flush=True)
"""
MAIN_BEST = """\
            if loss < best:
                best, kept = loss, [p.detach().clone() for p in parameters]
    for parameter, value in zip(parameters, kept):  # the best ones are the result
        parameter.data.copy_(value)
"""
MAIN_END = """\



if __name__ == "__main__":
    main()
"""
