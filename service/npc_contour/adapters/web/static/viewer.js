// Review: raw Hounsfield planes from the service, windowed here; over them the points of the RTSTRUCT itself.
// Axes are those of the array: z (slice), y (row), x (column). Everything that is drawn comes from whole planes and the
// file's own points; nothing is smoothed, thinned or closed differently here.
"use strict";

const m = JSON.parse(document.getElementById("manifest").textContent);
const LATER = document.currentScript.dataset.later.trim().split(" ");
function loadLater() {
  for (const src of LATER) document.head.append(Object.assign(document.createElement("script"), { src, async: false }));
}
const AXES = ["axial", "coronal", "sagittal"];
const [NZ, NY, NX] = m.shape;
const [DZ, DY, DX] = m.spacing;
const COUNT = { axial: NZ, coronal: NY, sagittal: NX };
const WINDOWS = m.modality === "MR"
  ? [["Auto", null]]
  : [["Soft tissue", [40, 400]], ["Brain", [40, 100]], ["Head & neck", [60, 350]], ["Bone", [500, 2000]], ["Lung", [-600, 1500]], ["All", [500, 3000]]];
const KEEP = 240;
const AHEAD = 4;
const REST_MS = 150;
// By one slice upwards, as the planes are shown: towards the head in axial, to the front and to the right in the others.
const UP = { axial: m.headsUp ? 1 : -1, coronal: -1, sagittal: -1 };
const SWIPE_PX = 14;

const state = {
  at: { axial: NZ >> 1, coronal: NY >> 1, sagittal: NX >> 1 },
  window: 0, level: 40, width: 400, main: "axial",
  rois: [], points: null, chosen: -1, hover: -1, solo: false, started: false, fill: true, outline: true, hidden: false,
  // Shifts are in mm of the plane: they mean the same in a large view and in a small one.
  zoom: { axial: 1, coronal: 1, sagittal: 1 }, pan: { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] },
};

// ---- planes: asked for once, kept while there is room, the neighbours fetched ahead ----
const planes = new Map();

function plane(axis, index) {
  const key = `${axis}/${index}`;
  let kept = planes.get(key);
  if (!kept) {
    kept = fetch(`/cases/${m.case}/planes/${axis}/${index}?role=${m.role}`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `${answer.status}`);
      kept.hu = new Int16Array(await answer.arrayBuffer());
      return kept.hu;
    });
    kept.catch(() => planes.delete(key));
    planes.set(key, kept);
    if (planes.size > KEEP) planes.delete(planes.keys().next().value);
  }
  return kept;
}

// ---- windowing: a table from all 65,536 values to opaque greys, applied in one pass ----
const table = new Uint32Array(65536);
const grey = new Uint8ClampedArray(1);
function makeTable() {
  const low = state.level - state.width / 2;
  const scale = 255 / state.width;
  for (let value = 0; value < 65536; value++) {
    grey[0] = (value - 32768 - low) * scale;
    table[value] = 0xff000000 | (grey[0] * 0x010101);
  }
}

class View {
  constructor(element) {
    this.element = element;
    this.axis = element.dataset.axis;
    this.image = element.querySelector(".image");
    this.ink = element.querySelector(".ink");
    this.scroll = element.querySelector(".scroll");
    this.scroll.max = COUNT[this.axis] - 1;
    this.scroll.classList.toggle("rising", UP[this.axis] > 0);
    this.areas = [];
    this.fingers = new Map();
    this.pointer = null;
    this.buffer = document.createElement("canvas");
    [this.columns, this.rows] = { axial: [NX, NY], coronal: [NX, NZ], sagittal: [NY, NZ] }[this.axis];
    this.size = { axial: [DX, DY], coronal: [DX, DZ], sagittal: [DY, DZ] }[this.axis];
    this.buffer.width = this.columns;
    this.buffer.height = this.rows;
    this.pixels = new ImageData(this.columns, this.rows);
    this.greys = new Uint32Array(this.pixels.data.buffer);
    this.shown = null;
    this.wanted = -1;
    this.letters();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(element);
  }

  letters() {
    const [z, y, x] = m.ends;
    const up = m.headsUp ? [z[1], z[0]] : [z[0], z[1]];
    const sides = { axial: [x[0], x[1], y[0], y[1]], coronal: [x[0], x[1], ...up], sagittal: [y[0], y[1], ...up] }[this.axis];
    ["l", "r", "t", "b"].forEach((side, i) => (this.element.querySelector(`.side.${side}`).textContent = sides[i]));
  }

  // Where array coordinates lie on the plane: [column, row], voxel centres at whole numbers.
  // What is drawn over an image belongs to the image that is shown, not to the one that is still on its way.
  get index() { return this.shown ?? state.at[this.axis]; }
  rowOfZ(z) { return m.headsUp ? NZ - 1 - z : z; }

  async show() {
    const index = state.at[this.axis];
    this.wanted = index;
    this.scroll.value = index;
    const busy = this.element.querySelector(".busy");
    try {
      const asked = plane(this.axis, index);
      const slow = asked.hu ? 0 : setTimeout(() => (busy.hidden = false), 150);
      const hu = asked.hu ?? (await asked);
      clearTimeout(slow);
      busy.hidden = true;
      if (this.wanted !== index) return;
      if (!this.hu && this.axis === "axial") this.close(hu);
      this.hu = hu;
      this.shown = index;
      this.paint();
      this.draw();
      this.caption();
      // Told to whoever measures: the frame after the one in which this was drawn.
      if (!window.firstSliceAt) requestAnimationFrame(() => requestAnimationFrame(seen));
      if (this.axis === state.main && state.started) this.ahead(index);
    } catch (error) {
      busy.hidden = false;
      busy.textContent = error.message;
    }
  }

  // A scan's field of view is wider than the patient: begin as close as the body of the first image allows.
  close(hu) {
    if (m.modality !== "CT") return;
    let left = this.columns, right = 0, top = this.rows, bottom = 0;
    for (let row = 0; row < this.rows; row += 4) {
      for (let column = 0; column < this.columns; column += 4) {
        if (hu[row * this.columns + column] < -200) continue;
        left = Math.min(left, column); right = Math.max(right, column);
        top = Math.min(top, row); bottom = Math.max(bottom, row);
      }
    }
    if (right <= left || bottom <= top) return;
    const factor = Math.min((this.columns * 0.88) / (right - left), (this.rows * 0.88) / (bottom - top), 2.2);
    if (factor <= 1.05) return;
    state.zoom.axial = factor;
    state.pan.axial = [((this.columns - left - right) / 2) * DX, ((this.rows - top - bottom) / 2) * DY];
  }

  caption() {
    const at = { ...state.at, [this.axis]: this.index };
    const [x, y, z] = position(at.axial, at.coronal, at.sagittal);
    const along = { axial: `z ${z.toFixed(1)}`, coronal: `y ${y.toFixed(1)}`, sagittal: `x ${x.toFixed(1)}` }[this.axis];
    const mm = document.createElement("span");
    mm.className = "mm";
    mm.textContent = `  ${along} mm`;
    this.element.querySelector(".place").replaceChildren(`${this.index + 1} / ${COUNT[this.axis]}`, mm);
  }

  ahead(index) {
    for (let step = 1; step <= AHEAD; step++) {
      for (const next of [index + step, index - step]) if (next >= 0 && next < COUNT[this.axis]) plane(this.axis, next).catch(() => {});
    }
  }

  paint() {
    if (!this.hu) return;
    const { hu, greys } = this;
    for (let i = 0; i < hu.length; i++) greys[i] = table[hu[i] + 32768];
    this.buffer.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  // Scale and offset from plane coordinates to device pixels.
  fit() {
    const ratio = devicePixelRatio || 1;
    const width = Math.round(this.element.clientWidth * ratio);
    const height = Math.round(this.element.clientHeight * ratio);
    for (const canvas of [this.image, this.ink]) if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const [sx, sy] = this.size;
    const whole = Math.min(width / (this.columns * sx), height / (this.rows * sy));
    const scale = whole * state.zoom[this.axis];
    const [px, py] = state.pan[this.axis];
    return {
      kx: scale * sx, ky: scale * sy, ratio, scale,
      ox: (width - this.columns * sx * scale) / 2 + px * scale,
      oy: (height - this.rows * sy * scale) / 2 + py * scale,
    };
  }

  // At once with the quick filter, and with the good one (four times as slow) once the hand rests.
  draw() {
    this.drawImage("low");
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.drawImage("high"), REST_MS);
    this.drawInk();
  }

  drawImage(quality) {
    const f = (this.f = this.fit());
    const image = this.image.getContext("2d", { alpha: false });
    image.fillStyle = "#000";
    image.fillRect(0, 0, this.image.width, this.image.height);
    image.imageSmoothingEnabled = true;
    image.imageSmoothingQuality = quality;
    if (this.hu) image.drawImage(this.buffer, f.ox, f.oy, this.columns * f.kx, this.rows * f.ky);
  }

  drawInk() {
    const f = this.f;
    if (!f) return;
    const ink = this.ink.getContext("2d");
    ink.clearRect(0, 0, this.ink.width, this.ink.height);
    this.areas = [];
    if (!state.hidden && state.points) {
      const last = (i) => (i === state.chosen || i === state.hover ? 1 : 0);
      const order = [...state.rois.keys()].filter(isShown).sort((a, b) => last(a) - last(b));
      for (const i of order) this.drawRoi(ink, i, last(i) > 0);
    }
    this.drawCross(ink);
    this.probe();
  }

  drawRoi(ink, i, chosen) {
    const f = this.f;
    const roi = state.rois[i];
    const paths = this.axis === "axial" ? this.ringPaths(roi) : this.cutPaths(roi);
    if (!paths) return;
    const [area, edge] = paths;
    this.areas.push([i, area]);
    if (state.fill) {
      ink.fillStyle = `rgba(${roi.colour},${chosen ? 0.32 : 0.16})`;
      ink.fill(area, "evenodd");
    }
    if (state.outline || chosen) {
      ink.lineJoin = "round";
      ink.strokeStyle = `rgb(${roi.colour})`;
      ink.lineWidth = (chosen ? 3 : 1.6) * f.ratio;
      ink.stroke(edge);
    }
  }

  // The points of the file, one polygon each; holes and keyholes by the even-odd rule.
  ringPaths(roi) {
    const rings = roi.bySlice.get(this.index);
    if (!rings) return null;
    const { kx, ky, ox, oy } = this.f;
    const points = state.points;
    const area = new Path2D();
    let edge = area;
    for (const ring of rings) {
      const [start, count] = ring;
      const bridge = (ring.bridge ??= bridgesOf(points, start, count));
      if (bridge && edge === area) edge = new Path2D(area);
      let lifted = true;
      for (let k = 0; k <= count; k++) {
        const i = start + (k % count);
        const x = ox + (points[2 * i] + 0.5) * kx;
        const y = oy + (points[2 * i + 1] + 0.5) * ky;
        if (k === 0) area.moveTo(x, y); else if (k < count) area.lineTo(x, y);
        if (edge === area) continue;
        if (lifted || bridge?.has(k - 1)) edge.moveTo(x, y); else edge.lineTo(x, y);
        lifted = false;
      }
      area.closePath();
    }
    return [area, edge];
  }

  // Across the slices: where each polygon crosses this plane, as bars one slice high; drawn are the bars' common outline.
  cuts(roi) {
    const points = state.points;
    const across = this.axis === "coronal" ? 1 : 0;
    const along = 1 - across;
    const level = this.index;
    const cuts = new Map();
    for (const [z, rings] of roi.bySlice) {
      const hits = [];
      for (const [start, count] of rings) {
        let before = start + count - 1;
        for (let i = start; i < start + count; before = i++) {
          const a = points[2 * before + across] - level;
          const b = points[2 * i + across] - level;
          if (a > 0 !== b > 0) hits.push(points[2 * before + along] + (a / (a - b)) * (points[2 * i + along] - points[2 * before + along]));
        }
      }
      if (hits.length) cuts.set(z, hits.sort((a, b) => a - b));
    }
    return cuts;
  }

  cutPaths(roi) {
    const cuts = this.cuts(roi);
    if (!cuts.size) return null;
    const { kx, ky, ox, oy } = this.f;
    const px = (column) => ox + (column + 0.5) * kx;
    const area = new Path2D();
    const edge = new Path2D();
    for (const [z, hits] of cuts) {
      const top = oy + this.rowOfZ(z) * ky;
      for (let i = 0; i + 1 < hits.length; i += 2) area.rect(px(hits[i]), top, px(hits[i + 1]) - px(hits[i]), ky);
      for (const hit of hits) { edge.moveTo(px(hit), top); edge.lineTo(px(hit), top + ky); }
      // Between two slices lies an edge where just one of them is inside: pairs of both slices' crossings in order.
      for (const next of [z - 1, z + 1]) {
        if (next > z && cuts.has(next)) continue;
        const both = [...hits, ...(cuts.get(next) ?? [])].sort((a, b) => a - b);
        const line = this.rowOfZ(next) > this.rowOfZ(z) ? top + ky : top;
        for (let i = 0; i + 1 < both.length; i += 2) { edge.moveTo(px(both[i]), line); edge.lineTo(px(both[i + 1]), line); }
      }
    }
    return [area, edge];
  }

  drawCross(ink) {
    const { kx, ky, ox, oy, ratio } = this.f;
    const column = this.axis === "sagittal" ? state.at.coronal : state.at.sagittal;
    const row = this.axis === "axial" ? state.at.coronal : this.rowOfZ(state.at.axial);
    const x = Math.round(ox + (column + 0.5) * kx) + 0.5;
    const y = Math.round(oy + (row + 0.5) * ky) + 0.5;
    ink.strokeStyle = "rgba(255,210,122,.5)";
    ink.lineWidth = ratio;
    ink.setLineDash([6 * ratio, 6 * ratio]);
    ink.beginPath();
    ink.moveTo(0, y); ink.lineTo(this.ink.width, y);
    ink.moveTo(x, 0); ink.lineTo(x, this.ink.height);
    ink.stroke();
    ink.setLineDash([]);
  }

  // From the pointer to array coordinates [z, y, x].
  under(event) {
    const box = this.element.getBoundingClientRect();
    const { kx, ky, ox, oy, ratio } = this.f;
    const column = Math.floor(((event.clientX - box.left) * ratio - ox) / kx);
    const row = Math.floor(((event.clientY - box.top) * ratio - oy) / ky);
    if (column < 0 || row < 0 || column >= this.columns || row >= this.rows) return null;
    const z = m.headsUp ? NZ - 1 - row : row;
    const zyx = { axial: [this.index, row, column], coronal: [z, this.index, column], sagittal: [z, column, this.index] }[this.axis];
    return { zyx, hu: this.hu?.[row * this.columns + column] };
  }

  // The shown ROIs under the pointer, the smallest first.
  roisUnder(event) {
    const box = this.element.getBoundingClientRect();
    const ratio = this.f?.ratio ?? 1;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const ink = this.ink.getContext("2d");
    const under = this.areas.filter(([, area]) => ink.isPointInPath(area, x, y, "evenodd")).map(([i]) => i);
    return under.sort((a, b) => state.rois[a].cc - state.rois[b].cc);
  }

  // One finger scrolls or points, two zoom and move.
  touch(event, before) {
    const box = this.element.getBoundingClientRect();
    const now = [...this.fingers.values()];
    if (now.length === 1) {
      const steps = Math.trunc((event.clientY - this.swipeFrom) / SWIPE_PX);
      if (steps) { move(this.axis, -steps * UP[this.axis]); this.swipeFrom += steps * SWIPE_PX; this.swiped = true; }
      return;
    }
    this.swiped = true;
    const [a, b] = now;
    const [c, d] = before;
    const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
    const wide = Math.hypot(c.clientX - d.clientX, c.clientY - d.clientY) || 1;
    zoom(this.axis, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) / wide, middle);
    this.shift(middle.clientX - (c.clientX + d.clientX) / 2, middle.clientY - (c.clientY + d.clientY) / 2, state.pan[this.axis]);
  }

  // Move what is shown by so many pixels of the page from where it was.
  shift(dx, dy, from) {
    const mm = this.f.ratio / this.f.scale;
    state.pan[this.axis] = [from[0] + dx * mm, from[1] + dy * mm];
    this.draw();
  }

  listen() {
    const element = this.element;
    let wheel = 0;
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) { zoom(this.axis, Math.exp(-event.deltaY / 300), event); return; }
      wheel += event.deltaY;
      const steps = Math.trunc(wheel / 40) || Math.sign(event.deltaY) * (Math.abs(event.deltaY) >= 40 ? 1 : 0);
      if (steps) { wheel = 0; move(this.axis, -steps * UP[this.axis]); }
    }, { passive: false });
    this.scroll.addEventListener("input", () => go({ [this.axis]: Number(this.scroll.value) }));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("pointerdown", (event) => {
      if (event.target === this.scroll) return;
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      if (event.pointerType === "touch") {
        this.fingers.set(event.pointerId, event);
        this.swipeFrom = event.clientY;
        if (this.fingers.size === 1) this.swiped = false;
        return;
      }
      const windowing = event.button === 2;
      const panning = event.button === 1 || event.shiftKey;
      const start = { x: event.clientX, y: event.clientY, level: state.level, width: state.width, pan: [...state.pan[this.axis]] };
      if (!windowing && !panning) { this.point(event); select(this.roisUnder(event)[0]); }
      const moved = (next) => {
        const dx = next.clientX - start.x;
        const dy = next.clientY - start.y;
        if (windowing) setWindow(start.level + dy * 2, Math.max(1, start.width + dx * 4));
        else if (panning) this.shift(dx, dy, start.pan);
        else this.point(next);
      };
      element.addEventListener("pointermove", moved);
      element.addEventListener("pointerup", () => element.removeEventListener("pointermove", moved), { once: true });
    });
    element.addEventListener("pointermove", (event) => {
      if (this.fingers.has(event.pointerId)) {
        const before = [...this.fingers.values()];
        this.fingers.set(event.pointerId, event);
        this.touch(event, before);
        return;
      }
      this.pointer = event;
      const hover = this.roisUnder(event)[0] ?? -1;
      if (hover !== state.hover) { state.hover = hover; for (const axis of AXES) views[axis].drawInk(); } else this.probe();
    });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => {
      if (this.fingers.delete(event.pointerId) && end === "pointerup" && !this.swiped) { this.point(event); select(this.roisUnder(event)[0]); }
    });
    element.addEventListener("pointerleave", () => {
      this.pointer = null;
      document.getElementById("probe").textContent = "";
      if (state.hover >= 0) { state.hover = -1; for (const axis of AXES) views[axis].drawInk(); }
    });
    element.addEventListener("dblclick", () => setMain(this.axis));
  }

  point(event) {
    const found = this.under(event);
    if (!found) return;
    const [z, y, x] = found.zyx;
    const next = { axial: z, coronal: y, sagittal: x };
    delete next[this.axis];
    go(next);
  }

  // What lies under the pointer on the slice that is shown, also after the slice has changed under a pointer at rest.
  probe() {
    if (!this.pointer || !this.f) return;
    const found = this.under(this.pointer);
    const line = document.getElementById("probe");
    if (!found || found.hu === undefined) { line.textContent = ""; return; }
    const names = this.roisUnder(this.pointer).map((i) => state.rois[i].name).join(", ");
    const [x, y, z] = position(...found.zyx).map((value) => value.toFixed(1));
    line.textContent = `${names}\n${found.hu} ${m.modality === "CT" ? "HU" : ""}   x ${x}  y ${y}  z ${z} mm`.trim();
  }
}

// Edges by which a polygon goes to its hole and back (a keyhole): in the file, but no border of anything. null: none.
function bridgesOf(points, start, count) {
  const name = (k) => `${points[2 * (start + k)]},${points[2 * (start + k) + 1]}`;
  const names = Array.from({ length: count }, (_, k) => name(k));
  if (new Set(names).size === count) return null;
  const edges = new Map();
  const bridges = new Set();
  for (let k = 0; k < count; k++) {
    const [a, b] = [names[k], names[(k + 1) % count]];
    const back = edges.get(`${b} ${a}`);
    if (a !== b && back !== undefined) { bridges.add(back); bridges.add(k); }
    edges.set(`${a} ${b}`, k);
  }
  return bridges.size ? bridges : null;
}

function position(z, y, x) {
  return [0, 1, 2].map((k) => m.origin[k] + z * DZ * m.direction[0][k] + y * DY * m.direction[1][k] + x * DX * m.direction[2][k]);
}

function placeOf(hash) {
  if (!hash.startsWith("lps=")) return hash.split(",").map(Number);
  const from = hash.slice(4).split(",").map((value, k) => Number(value) - m.origin[k]);
  return m.direction.map((axis, i) => Math.round((from[0] * axis[0] + from[1] * axis[1] + from[2] * axis[2]) / m.spacing[i]));
}

// Everything else waits until the first image is on the screen: scripts and points would come between it and its frame.
let firstSeen;
const first = new Promise((done) => (firstSeen = done));
function seen() {
  window.firstSliceAt ??= performance.now();
  firstSeen();
}

const views = Object.fromEntries([...document.querySelectorAll(".view")].map((element) => [element.dataset.axis, new View(element)]));

// ---- moving ----
let tick = 0;
function go(next) {
  for (const axis of AXES) if (axis in next) state.at[axis] = Math.max(0, Math.min(COUNT[axis] - 1, Math.round(next[axis])));
  const moved = AXES.filter((axis) => axis in next);
  cancelAnimationFrame(tick);
  tick = requestAnimationFrame(() => {
    for (const axis of AXES) if (moved.includes(axis) || views[axis].shown !== state.at[axis]) views[axis].show(); else views[axis].drawInk();
    markHere();
    history.replaceState(null, "", `?role=${m.role}#${state.at.axial},${state.at.coronal},${state.at.sagittal}`);
  });
}
const move = (axis, by) => go({ [axis]: state.at[axis] + by });

// About the point under the pointer, or about the middle of the view.
function zoom(axis, factor, event) {
  const view = views[axis];
  const before = view.f ?? view.fit();
  state.zoom[axis] = factor ? Math.max(1, Math.min(16, state.zoom[axis] * factor)) : 1;
  if (!factor || state.zoom[axis] === 1) {
    state.pan[axis] = [0, 0];
  } else if (event) {
    const box = view.element.getBoundingClientRect();
    const after = view.fit();
    const at = [(event.clientX - box.left) * before.ratio, (event.clientY - box.top) * before.ratio];
    const moved = [at[0] - (at[0] - before.ox) * (after.scale / before.scale) - after.ox, at[1] - (at[1] - before.oy) * (after.scale / before.scale) - after.oy];
    state.pan[axis] = state.pan[axis].map((mm, k) => mm + moved[k] / after.scale);
  }
  view.draw();
}

function setMain(axis) {
  state.main = axis;
  const box = document.getElementById("views");
  for (const name of [axis, ...AXES.filter((other) => other !== axis)]) box.append(views[name].element);
  for (const name of AXES) views[name].element.classList.toggle("main", name === axis);
  views[axis].element.focus({ preventScroll: true });
}

// ---- windows ----
function setWindow(level, width, preset = -1) {
  state.level = Math.round(level);
  state.width = Math.round(width);
  state.window = preset;
  makeTable();
  for (const axis of AXES) { views[axis].paint(); views[axis].draw(); }
  document.getElementById("window-now").textContent = `L ${state.level}  W ${state.width}`;
  [...document.querySelectorAll("#windows button")].forEach((button, i) => button.setAttribute("aria-pressed", String(i === preset)));
}
function autoWindow() {
  const hu = views.axial.hu;
  if (!hu) return;
  const some = Int16Array.from({ length: 5000 }, (_, i) => hu[Math.floor((i * hu.length) / 5000)]).sort();
  const low = some[Math.floor(some.length * 0.02)];
  const high = some[Math.floor(some.length * 0.995)];
  setWindow((low + high) / 2, Math.max(2, high - low), 0);
}
const choose = (i) => (WINDOWS[i][1] ? setWindow(...WINDOWS[i][1], i) : autoWindow());
WINDOWS.forEach(([name], i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => choose(i));
  document.getElementById("windows").append(button);
});

// ---- ROIs ----
const list = document.getElementById("rois");
const isShown = (i) => state.rois[i].shown && (!state.solo || i === state.chosen);
const GROUPS = [["GTV", "Gross tumour"], ["CTV", "Clinical targets"], ["PTV", "Planning targets"], ["ORGAN", "Organs at risk"], ["", "Others"]];

async function readContours() {
  const info = document.getElementById("set-info");
  if (!m.written) { info.textContent = "No structure set is written yet."; return; }
  const answer = await fetch(`/cases/${m.case}/contours?role=${m.role}`);
  if (!answer.ok) { info.textContent = (await answer.json().catch(() => ({}))).detail ?? "The structure set cannot be read."; return; }
  const data = await answer.arrayBuffer();
  const length = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  state.points = new Float32Array(data, 4 + length);
  const absent = head.absent.map((roi) => ({ ...roi, colour: [128, 128, 128], description: "asked for, not found", cc: 0, offPlane: 0, centre: null, rings: [] }));
  state.rois = [...head.rois, ...absent].map((roi) => {
    const bySlice = new Map();
    for (const [z, start, count] of roi.rings) {
      if (!bySlice.has(z)) bySlice.set(z, []);
      bySlice.get(z).push([start, count]);
    }
    return { ...roi, bySlice, shown: true };
  });
  document.getElementById("set-label").textContent = head.label;
  const found = state.rois.filter((roi) => roi.rings.length).length;
  info.textContent = `${head.approval.toLowerCase() || "no approval status"} · ${found} of ${state.rois.length} found`;
  buildList();
  tellFlags(head.findings, head.notes);
  offerDownloads(head.objects);
  const named = head.findings[Number(/^#finding=(\d+)$/.exec(location.hash)?.[1] ?? -1)];
  if (named) goToFinding(named, head.findings.indexOf(named));
  else if (!placed) openAtWhatMatters(head.findings);
  for (const axis of AXES) views[axis].drawInk();
  markHere();
  window.contoursAt = performance.now();
}

function offerDownloads(objects) {
  const place = document.getElementById("downloads");
  if (!place) return;
  place.hidden = !objects.length;
  place.replaceChildren(...objects.map(([what, title]) => {
    const link = Object.assign(document.createElement("a"), { className: "button small", href: `/api/v1/jobs/${m.case}/objects/${what}`, download: "" });
    link.append(icon("download"), title);
    return link;
  }));
}

// What the service doubts, each with the way to its slice, then what it noted: the words of the case's page.
function tellFlags(findings, notes) {
  const flags = document.getElementById("flags");
  const doubts = findings.filter((one) => one.severity !== "note").length;
  const count = (n, word) => (n ? [`${n} ${word}${n === 1 ? "" : "s"}`] : []);
  flags.hidden = !findings.length && !notes.length;
  flags.open = doubts > 0;
  flags.querySelector("summary").textContent = [...count(doubts, "finding"), ...count(findings.length - doubts + notes.length, "note")].join(", ");
  const lines = findings.map((one, number) => {
    const way = document.createElement("button");
    way.type = "button";
    way.className = `finding ${one.severity}`;
    way.textContent = one.sentence;
    way.addEventListener("click", () => goToFinding(one, number));
    return way;
  });
  flags.querySelector("ul").replaceChildren(...[...lines, ...notes].map((line) => { const item = document.createElement("li"); item.append(line); return item; }));
}

// The case's page lets it be released once what holds it has been opened: by this person, in this browser.
function noteOpened(number) {
  const key = `opened ${m.case} ${m.person}`;
  const opened = JSON.parse(localStorage.getItem(key) ?? "[]");
  if (!opened.includes(number)) localStorage.setItem(key, JSON.stringify([...opened, number]));
}

function goToFinding(finding, number) {
  noteOpened(number);
  showFinding(finding);
}

function showFinding(finding) {
  const i = state.rois.findIndex((roi) => roi.name === finding.structure);
  if (i >= 0) pick(i);
  if (finding.z_mm !== null) go({ axial: (finding.z_mm - m.origin[2]) / (DZ * m.direction[0][2]) });
}

// Where nobody named a place: the worst doubt, else the tumour.
function openAtWhatMatters(findings) {
  const doubt = findings.find((one) => one.severity !== "note" && (one.z_mm !== null || state.rois.some((roi) => roi.name === one.structure && roi.centre)));
  const tumours = [...state.rois.keys()].filter((i) => state.rois[i].type === "GTV" && state.rois[i].rings.length);
  if (doubt) showFinding(doubt);
  else if (tumours.length) pick(tumours.reduce((most, i) => (state.rois[i].cc > state.rois[most].cc ? i : most)));
}

const ICONS = document.querySelector("use[href*='icons.svg']").getAttribute("href").split("#")[0];
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

function buildList() {
  list.replaceChildren();
  const known = GROUPS.map(([type]) => type);
  for (const [type, title] of GROUPS) {
    const here = state.rois.map((roi, i) => [roi, i]).filter(([roi]) => (known.includes(roi.type) ? roi.type : "") === type);
    if (!here.length) continue;
    const head = document.createElement("li");
    head.className = "group";
    head.setAttribute("role", "presentation");
    head.textContent = title;
    list.append(head);
    for (const [roi, i] of here) list.append(rowOf(roi, i));
  }
}

function rowOf(roi, i) {
  const row = document.createElement("li");
  row.className = "roi-row";
  row.id = `roi-${i}`;
  row.dataset.index = i;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", "false");
  const missing = !roi.rings.length;
  row.classList.toggle("missing", missing);
  // For the mouse; the keyboard has the space bar, and a reader the row's own state.
  const eye = document.createElement("span");
  eye.className = "eye";
  eye.title = "show or hide";
  row.setAttribute("aria-checked", String(!missing));
  eye.append(icon(missing ? "ban" : "eye"));
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  swatch.setAttribute("class", "swatch");
  swatch.setAttribute("viewBox", "0 0 10 10");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: 10, height: 10, rx: 2.5, fill: `rgb(${roi.colour})` })) rect.setAttribute(key, value);
  swatch.append(rect);
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = roi.name;
  name.title = roi.description;
  const volume = document.createElement("span");
  volume.className = "cc";
  if (missing) {
    volume.innerHTML = '<span class="tag bad">not found</span>';
  } else {
    volume.textContent = `${roi.cc < 10 ? roi.cc.toFixed(2) : roi.cc.toFixed(1)} cc`;
    if (roi.offPlane) volume.title = `${roi.offPlane} contours lie between slices`;
  }
  row.append(eye, swatch, name, volume);
  row.addEventListener("click", (event) => (event.target.closest(".eye") ? toggle(i) : pick(i)));
  return row;
}

function redraw() {
  for (const axis of AXES) views[axis].drawInk();
  for (const row of list.querySelectorAll(".roi-row")) {
    const i = Number(row.dataset.index);
    row.classList.toggle("off", !isShown(i));
    row.setAttribute("aria-selected", String(i === state.chosen));
    if (state.rois[i].rings.length) row.setAttribute("aria-checked", String(isShown(i)));
  }
}
function select(i) {
  if (i === undefined || i === state.chosen) return;
  state.chosen = i;
  document.getElementById(`roi-${i}`)?.scrollIntoView({ block: "nearest" });
  list.setAttribute("aria-activedescendant", `roi-${i}`);
  redraw();
}
function toggle(i) { state.rois[i].shown = !state.rois[i].shown; redraw(); }

function pick(i, jump = true) {
  state.chosen = i === state.chosen && jump === "toggle" ? -1 : i;
  const roi = state.rois[i];
  const row = document.getElementById(`roi-${i}`);
  row?.scrollIntoView({ block: "nearest" });
  list.setAttribute("aria-activedescendant", `roi-${i}`);
  redraw();
  if (!roi.rings.length) return;
  const [z, y, x] = roi.centre;
  // The slice of the middle may be one where a curved structure is not: the nearest that has it.
  const slices = [...roi.bySlice.keys()];
  const near = slices.reduce((best, slice) => (Math.abs(slice - z) < Math.abs(best - z) ? slice : best), slices[0]);
  go({ axial: near, coronal: y, sagittal: x });
}
function step(by) {
  const order = [...list.querySelectorAll(".roi-row:not([hidden])")].map((row) => Number(row.dataset.index));
  if (!order.length) return;
  const at = order.indexOf(state.chosen);
  pick(order[(at + by + order.length) % order.length]);
}
function markHere() {
  for (const row of list.querySelectorAll(".roi-row")) row.classList.toggle("here", state.rois[row.dataset.index].bySlice.has(state.at.axial));
}
function setAll(shown) { for (const roi of state.rois) roi.shown = shown; state.solo = false; redraw(); }

document.getElementById("show-all").addEventListener("click", () => setAll(true));
document.getElementById("show-none").addEventListener("click", () => setAll(false));
for (const id of ["fill", "outline"]) document.getElementById(id).addEventListener("change", (event) => { state[id] = event.target.checked; redraw(); });
document.getElementById("roi-filter").addEventListener("input", (event) => {
  const text = event.target.value.toLowerCase();
  for (const row of list.querySelectorAll(".roi-row")) row.hidden = !state.rois[row.dataset.index].name.toLowerCase().includes(text);
});
for (const button of document.querySelectorAll("[data-role]")) button.addEventListener("click", () => otherRole(button.dataset.role));
function otherRole(role) {
  if (role !== m.role) location.assign(`/cases/${m.case}/review?role=${role}`);
}
document.getElementById("help-open").addEventListener("click", () => document.getElementById("help").showModal());

function flip(id) { const box = document.getElementById(id); box.checked = !box.checked; state[id] = box.checked; redraw(); }
const current = () => document.activeElement?.closest?.(".view")?.dataset.axis ?? state.main;
const KEYS = {
  ArrowUp: () => move(current(), UP[current()]), ArrowDown: () => move(current(), -UP[current()]),
  PageUp: () => move(current(), 10 * UP[current()]), PageDown: () => move(current(), -10 * UP[current()]),
  Home: () => go({ [current()]: 0 }), End: () => go({ [current()]: COUNT[current()] - 1 }),
  1: () => setMain("axial"), 2: () => setMain("coronal"), 3: () => setMain("sagittal"),
  n: () => step(1), p: () => step(-1), o: () => flip("outline"), f: () => flip("fill"),
  s: () => { state.solo = !state.solo && state.chosen >= 0; redraw(); }, v: () => state.chosen >= 0 && toggle(state.chosen),
  w: () => choose((state.window + 1) % WINDOWS.length), c: () => otherRole(m.roles[(m.roles.indexOf(m.role) + 1) % m.roles.length]),
  "+": () => zoom(current(), 1.25), "=": () => zoom(current(), 1.25), "-": () => zoom(current(), 0.8), 0: () => zoom(current(), 0),
  b: () => location.assign(`/cases/${m.case}`), "?": () => document.getElementById("help").showModal(),
};
const LIST_KEYS = { ArrowDown: () => step(1), ArrowUp: () => step(-1), " ": () => state.chosen >= 0 && toggle(state.chosen) };
document.addEventListener("keydown", (event) => {
  if (event.target.matches?.('input[type="search"],input[type="text"]') || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "h" && !state.hidden) { state.hidden = true; redraw(); return; }
  const act = (event.target === list && LIST_KEYS[event.key]) || KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
document.addEventListener("keyup", (event) => { if (event.key === "h") { state.hidden = false; redraw(); } });

// ---- start: the axial plane first, then the points; the other planes need the whole volume and come last ----
// The place is named in the address: as indices (a link to what one sees), or in mm (a link from a table of measures).
const place = placeOf(location.hash.slice(1));
const placed = place.length === 3 && place.every(Number.isInteger);
if (placed) [state.at.axial, state.at.coronal, state.at.sagittal] = place.map((value, i) => Math.max(0, Math.min(m.shape[i] - 1, value)));
setMain("axial");
setWindow(...(WINDOWS[0][1] ?? [200, 400]), 0);
views.axial.show().then(async () => {
  if (m.modality === "MR") autoWindow();
  if (views.axial.hu) await first;
  // htmx begins by itself only in a document that has loaded.
  if (document.readyState === "complete") loadLater(); else addEventListener("load", loadLater, { once: true });
  readContours().finally(() => {
    state.started = true;
    views[state.main].ahead(state.at[state.main]);
    Promise.all([views.coronal.show(), views.sagittal.show()]).then(() => (window.allAt = performance.now()));
  });
});
