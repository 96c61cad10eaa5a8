// ---- Data --------------------------------------------------------------------------------
// `#index` holds what the table needs, one column a field. `.chunk` elements hold the episodes:
// each is a run of base64 of its own, raw deflate inside, and is decoded when it is opened.
// `pack.py` documents the bytes.

const CACHED_EPISODES = 24;
const SPARK_POINTS = 24;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Numbers that JSON cannot hold are stored as words. */
function floats(column) {
  return Float64Array.from(column, (v) => (v === null ? NaN : Number(v)));
}

class Archive {
  constructor(index) {
    this.index = index;
    this.count = index.count;
    this.columns = index.columns;
    this.given = { ...index.columns };
    for (const name of index.floats) this.columns[name] = floats(this.columns[name]);
    this.sparks = bytesOf(index.sparks);
    this.rowOf = new Map(this.columns.id.map((id, row) => [id, row]));
    this.opened = new Map();
  }

  static async read() {
    const bytes = await inflate(bytesOf(byId("index").textContent));
    return new Archive(JSON.parse(new TextDecoder().decode(bytes)));
  }

  /** A number of the table, or null where the episode has none; NaN is a number that it has. */
  numberAt(name, row) {
    return this.given[name][row] === null ? null : this.columns[name][row];
  }

  task(row) {
    return this.index.tasks[this.columns.task[row]];
  }

  outcome(row) {
    return this.index.outcomes[this.columns.outcome[row]];
  }

  kept(row) {
    return this.index.kept[this.columns.kept[row]];
  }

  /** Names of the failure modes, or `none`. */
  failures(row) {
    return this.index.failures[this.columns.failures[row]];
  }

  environment(row) {
    return this.index.environments[this.columns.environment[row]];
  }

  /** Points 0..254 of the small curve of an episode; 255 where there is none. */
  spark(row) {
    return this.sparks.subarray(row * SPARK_POINTS, (row + 1) * SPARK_POINTS);
  }

  /** The decoded episode; the last few stay decoded. */
  open(row) {
    let found = this.opened.get(row);
    if (found) this.opened.delete(row);
    else found = this.decode(row);
    this.opened.set(row, found);
    if (this.opened.size > CACHED_EPISODES) {
      this.opened.delete(this.opened.keys().next().value);
    }
    return found;
  }

  async decode(row) {
    const [number_, start, length] = ["chunk", "start", "length"].map((n) => this.columns[n][row]);
    const chunk = await wholeChunk(number_);
    const bytes = await inflate(bytesOf(chunk.textContent.substr(start, length)));
    return decodeEpisode(bytes, row, this);
  }
}

/** The element of a chunk, once the parser has come to its end. */
function wholeChunk(number_) {
  return new Promise((resolve) => {
    const look = () => {
      const chunk = byId(`chunk-${number_}`);
      const whole = chunk && (chunk.nextElementSibling || document.readyState !== "loading");
      if (whole) resolve(chunk);
      else setTimeout(look, 8);
    };
    look();
  });
}

/** Takes values off the front of a block of bytes, in the order in which `pack.py` put them. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  u8() {
    return this.bytes[this.at++];
  }

  u32() {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }

  take(count) {
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  json() {
    return JSON.parse(new TextDecoder().decode(this.take(this.u32())));
  }

  /** float32 values stored as four planes: all first bytes, all second bytes, and so on. */
  planes(count) {
    const planes = this.take(4 * count);
    const bytes = new Uint8Array(4 * count);
    for (let i = 0; i < count; i++) {
      for (let k = 0; k < 4; k++) bytes[4 * i + k] = planes[k * count + i];
    }
    return new Float32Array(bytes.buffer);
  }
}

const ARC = 1;

function decodeEpisode(bytes, row, archive) {
  const reader = new Reader(bytes);
  const kind = reader.u8();
  const steps = reader.u32();
  const extra = reader.json();
  const episode = {
    row,
    steps,
    dropped: archive.columns.dropped[row],
    total: archive.columns.return[row],
    environment: archive.environment(row),
    moments: extra.moments,
    failures: extra.failures.map(readFailure),
    rewards: reader.planes(steps),
    flags: reader.take(steps),
    scores: extra.scored ? reader.planes(steps + 1) : null,
    operations: extra.operations ? Int16Array.from(readWords(reader, steps)) : null,
    fields: null,
    arc: kind === ARC,
  };
  if (episode.arc) Object.assign(episode, readGrids(reader, extra, steps));
  else episode.fields = extra.fields.map((field) => readField(reader, field));
  return finished(episode);
}

/** A failure mode and the states that show it, which are stored as distances. */
function readFailure([mode, text, ...distances]) {
  let at = 0;
  return { mode, text, states: distances.map((distance) => (at += distance)) };
}

/** Little-endian 16-bit words; 65535 stands for "unknown" and becomes -1. */
function readWords(reader, count) {
  const low = reader.take(count);
  const high = reader.take(count);
  return Array.from({ length: count }, (_, i) => (high[i] === 255 ? -1 : low[i] + 256 * high[i]));
}

/** Sums over the steps that several views show. */
function finished(episode) {
  const { steps } = episode;
  episode.returns = new Float64Array(steps);
  // Backwards from the whole return, which counts rewards that were not kept.
  let total = episode.total;
  for (let t = steps - 1; t >= 0; t--) {
    episode.returns[t] = total;
    total -= episode.rewards[t];
  }
  if (episode.arc) countCells(episode);
  episode.changes = changesOf(episode);
  return episode;
}

const CELL_BYTES = new Map([[8, Uint8Array], [16, Uint16Array]]);

/** Unsigned cells of `bits` bits each; a cell holds its value plus one, 0 is padding. */
function readCells(reader, count, bits) {
  if (bits === 4) {
    const packed = reader.take(Math.ceil(count / 2));
    const cells = new Uint8Array(2 * packed.length);
    for (let i = 0; i < packed.length; i++) {
      cells[2 * i] = packed[i] & 15;
      cells[2 * i + 1] = packed[i] >> 4;
    }
    return cells.subarray(0, count);
  }
  const Type = CELL_BYTES.get(bits);
  const bytes = reader.take(count * Type.BYTES_PER_ELEMENT);
  return new Type(bytes.slice().buffer);
}

function readGrids(reader, extra, steps) {
  const [height, width] = extra.shape;
  const area = height * width;
  const input = extra.input ? readCells(reader, area, extra.bits) : null;
  const target = extra.target ? readCells(reader, area, extra.bits) : null;
  const cells = readCells(reader, (steps + 1) * area, extra.bits);
  // Each frame was stored as its exclusive or with the one before it.
  for (let i = area; i < cells.length; i++) cells[i] ^= cells[i - area];
  const selections = extra.selected ? readBits(reader, steps * area) : null;
  return { height, width, input, target, cells, selections };
}

function readBits(reader, count) {
  const packed = reader.take(Math.ceil(count / 8));
  const bits = new Uint8Array(8 * packed.length);
  for (let i = 0; i < bits.length; i++) bits[i] = (packed[i >> 3] >> (i & 7)) & 1;
  return bits.subarray(0, count);
}

const FIELD_TYPES = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
};

/** One field of any other environment: its name, group, shape a row, and values. */
function readField(reader, field) {
  const Type = FIELD_TYPES[field.dtype];
  const size = field.shape.reduce((a, b) => a * b, 1);
  const bytes = reader.take(field.rows * size * Type.BYTES_PER_ELEMENT);
  const values = new Type(bytes.slice().buffer);
  // A field that is constant within an episode is stored once.
  const at = (row) => {
    const from = Math.min(row, field.rows - 1) * size;
    return values.subarray(from, from + size);
  };
  return { ...field, size, values, at };
}
