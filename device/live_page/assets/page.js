// SPDX-License-Identifier: Apache-2.0
// One WebSocket. The server sends a message: 4 bytes (big-endian) length of a JSON, the JSON, a JPEG of the frame, a PNG
// of the network's input. It sends the next one only after "more", so a slow phone gets fewer pictures, not older ones.
// Labels, names and messages come from files and cameras: they are only ever set as text.
"use strict";

const STAGES = ["capture", "preprocess", "wait", "invoke", "postprocess"];
const STALE_MS = 2000;    // without a new frame
const SILENT_MS = 6000;   // without any message: the connection is dead, whatever TCP believes
const HISTORY = 120;      // points of the latency's curve
const TOKEN_KEY = "litesight-token";

const $ = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

let socket = null;
let token = takeToken();
let retryMs = 500;
let retryTimer = 0;
let drawnNumber = 0;
let lastFrameAt = 0;
let lastMessageAt = 0;
const curve = [];

// ---- connecting

function takeToken() {
  const match = /^#token=([\w.~-]+)$/.exec(location.hash);
  // Out of sight, out of the browser's history and of screenshots.
  if (location.hash) history.replaceState(null, "", location.pathname);
  try {
    if (match) sessionStorage.setItem(TOKEN_KEY, match[1]);
    return match ? match[1] : sessionStorage.getItem(TOKEN_KEY) || "";
  } catch {  // storage is switched off: the token lasts until the page is loaded anew
    return match ? match[1] : "";
  }
}

async function connect() {
  clearTimeout(retryTimer);
  if (document.hidden || socket) return;
  let answer;
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    answer = await fetch("check", { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });
  } catch {
    lost("gone", "not there", "litesight has stopped, or this device has no way to it. Trying again…");
    return;
  }
  if (answer.status !== 204) {
    const sentence = (await answer.text()).trim();
    $("ask").hidden = answer.status !== 403;
    lost(answer.status === 503 ? "wait" : "gone", answer.status === 503 ? "full" : "not let in", sentence, answer.status !== 403);
    return;
  }
  if (document.hidden || socket) return;
  const url = new URL("live", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = socket = new WebSocket(url, token ? ["litesight", `token.${token}`] : ["litesight"]);
  mine.binaryType = "arraybuffer";
  lastMessageAt = performance.now();
  mine.onopen = () => {
    retryMs = 500;
    $("ask").hidden = true;
    $("notice").hidden = true;
  };
  mine.onmessage = async (event) => {
    lastMessageAt = performance.now();
    await show(event.data);
    if (mine.readyState === WebSocket.OPEN) mine.send("more");
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    if (!document.hidden) lost("gone", "lost", "The connection was lost. Trying again…");
  };
}

function lost(state, word, sentence, again = true) {
  status(state, word);
  $("notice").textContent = sentence;
  $("notice").hidden = false;
  $("main").classList.add("off");
  $("stale").hidden = true;
  if (!again) return;
  retryTimer = setTimeout(connect, retryMs);
  retryMs = Math.min(retryMs * 1.7, 5000);
}

function hangUp() {
  const old = socket;
  socket = null;
  if (old) old.close();
}

function status(state, word) {
  if ($("status").textContent !== word) $("status").textContent = word;
  $("status").dataset.state = state;
}

// A page that nobody looks at costs the Pi nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hangUp();
    status("wait", "paused");
  } else {
    retryMs = 500;
    connect();
  }
});

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  try {
    sessionStorage.setItem(TOKEN_KEY, token);
  } catch { /* as in takeToken */ }
  $("token").value = "";
  connect();
});

function judge() {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  const now = performance.now();
  if (now - lastMessageAt > SILENT_MS) {
    hangUp();
    lost("gone", "lost", "No answer from litesight. Trying again…");
    return;
  }
  const old = drawnNumber > 0 && now - lastFrameAt > STALE_MS;
  $("frame").classList.toggle("old", old);
  $("stale").hidden = !old;
  if (old) $("stale").textContent = `No new frame for ${Math.round((now - lastFrameAt) / 1000)} s`;
  status(old ? "stale" : drawnNumber ? "live" : "wait", old ? "no new frame" : drawnNumber ? "live" : "no frame yet");
}

setInterval(judge, 250);

// ---- showing a message

async function show(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const state = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const [pictureBytes, inputBytes] = state.bytes;
  const picture = new Uint8Array(buffer, 4 + length, pictureBytes);
  const input = new Uint8Array(buffer, 4 + length + pictureBytes, inputBytes);
  await Promise.all([
    draw($("picture"), picture, "image/jpeg"),
    draw($("input"), input, "image/png"),
  ]);
  $("main").hidden = false;
  $("main").classList.remove("off");
  showMachine(state);
  showEvents(state.events);
  $("source").textContent = [state.model && `model ${state.model.sha256}`, state.source].filter(Boolean).join(" · ");
  showTimes(state);
  if (state.number === 0) return;
  if (state.number !== drawnNumber) {
    drawnNumber = state.number;
    // A frame may have been old already when this page first saw it.
    lastFrameAt = performance.now() - Math.max(0, state.age_ms);
    remember(state);
  }
  $("model").textContent = state.model.name;
  document.title = `${state.label ?? "unsure"} · Litesight`;
  showFrame(state);
  showAnswer(state);
  showInput(state.model.input, state.frame.crop);
  judge();
}

async function draw(canvas, bytes, type) {
  if (!bytes.length) return;
  const bitmap = await createImageBitmap(new Blob([bytes], { type }));
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

function showFrame({ frame, label, age_ms: ageMs }) {
  const { width, height } = frame;
  const [x, y, w, h] = frame.crop;
  $("frame").style.aspectRatio = `${width} / ${height}`;
  $("frame").style.maxWidth = `calc(62vh * ${(width / height).toFixed(4)})`;
  const crop = $("crop");
  // A crop of nearly everything is no news.
  crop.hidden = w * h > 0.97 * width * height;
  crop.style.left = `${100 * x / width}%`;
  crop.style.top = `${100 * y / height}%`;
  crop.style.width = `${100 * w / width}%`;
  crop.style.height = `${100 * h / height}%`;
  $("caption").textContent = `${shortName(frame.name)} · ${width} × ${height} · ${age(ageMs)} old`;
  $("picture").setAttribute("aria-label", `The newest picture: ${label ?? "unsure"}`);
}

const age = (value) => (value < 1000 ? `${Math.round(value)} ms` : duration(value / 1000));
// The end of a path says more than its beginning.
const shortName = (name) => (name.length > 60 ? `…${name.slice(-59)}` : name);
const percent = (p) => `${(100 * p).toFixed(p > 0.9995 || p < 0.0005 ? 0 : 1)} %`;

function showAnswer({ label, predictions }) {
  const text = label ?? "unsure";
  // Said aloud by a screen reader, so only when it changes.
  if ($("label").textContent !== text) $("label").textContent = text;
  $("label").classList.toggle("unsure", label === null);
  const best = predictions.find((each) => each.label === label) ?? predictions[0];
  $("confidence").textContent = best ? percent(best.probability) : "";
  const bars = $("bars");
  while (bars.children.length > predictions.length) bars.lastChild.remove();
  predictions.forEach((each, place) => {
    let row = bars.children[place];
    if (!row) {
      row = make("li");
      const track = make("div", "track");
      track.append(make("div", "fill"));
      row.append(make("span", "name"), make("span", "share"), track);
      bars.append(row);
    }
    const [name, share, track] = row.children;
    row.classList.toggle("best", label !== null && each.label === label);
    name.textContent = each.label;
    share.textContent = percent(each.probability);
    track.firstChild.style.transform = `scaleX(${Math.min(1, each.probability)})`;
  });
}

function showInput(size, crop) {
  const [, , width, height] = crop;
  $("input-size").textContent = `${size.width} × ${size.height} ${size.color}`;
  $("input-way").textContent = `cut to ${width} × ${height}, resized, quantised to 8 bits`;
  fitInput();
}

// A whole number of screen pixels for each pixel of the network, so that every one of them is seen as it is.
function fitInput() {
  const canvas = $("input");
  const room = canvas.parentElement.clientWidth - 28;
  const scale = Math.max(1, Math.floor(Math.min(room, 256) / canvas.width));
  canvas.style.width = `${scale * canvas.width}px`;
  const shrunk = canvas.width > room;
  $("input-scale").textContent = shrunk ? "shown smaller than it is" : scale === 1 ? "shown pixel for pixel" : `shown ${scale} times larger`;
}

window.addEventListener("resize", fitInput);

const ms = (value) => (value === undefined || value === null ? "–" : `${value < 99.95 ? value.toFixed(value < 9.995 ? 2 : 1) : Math.round(value)} ms`);

function showTimes({ ms: now, median_ms: median, fps }) {
  $("fps").textContent = fps === null ? "–" : fps < 99.95 ? fps.toFixed(1) : Math.round(fps);
  if (!now) return;
  const typical = median ?? now;
  const sum = STAGES.slice(1).reduce((total, stage) => total + typical[stage], 0);
  const rows = $("stages");
  const stack = $("stack");
  if (!rows.children.length) {
    for (const stage of STAGES) {
      const row = make("tr");
      const name = make("th");
      name.scope = "row";
      name.append(make("span", `swatch of-${stage}`), stage);
      row.append(name, make("td"), make("td"));
      rows.append(row);
      // Getting the picture is mostly waiting for the camera, while the stages after it work on the one before.
      if (stage !== "capture") stack.append(make("div", `of-${stage}`));
    }
  }
  STAGES.forEach((stage, place) => {
    const [, nowCell, medianCell] = rows.children[place].children;
    nowCell.textContent = ms(now[stage]);
    medianCell.textContent = ms(median?.[stage]);
    if (stage !== "capture") stack.children[place - 1].style.width = `${(100 * typical[stage]) / (sum || 1)}%`;
  });
  $("latency-now").textContent = ms(now.latency);
  $("latency-median").textContent = ms(median?.latency);
}

function remember({ ms: now, worst_ms: worst }) {
  curve.push({ typical: now.latency, worst: Math.max(worst ?? 0, now.latency), at: performance.now() });
  if (curve.length > HISTORY) curve.shift();
  const top = Math.max(...curve.map((each) => each.worst), 1e-6) * 1.08;
  const first = HISTORY - curve.length;
  const place = (key) => curve.map((each, i) => `${first + i + 0.5},${(32 - (32 * each[key]) / top).toFixed(2)}`).join(" ");
  $("typical").setAttribute("points", place("typical"));
  $("worst").setAttribute("points", `${first + 0.5},32 ${place("worst")} ${HISTORY - 0.5},32`);
  const seconds = Math.max(1, Math.round((curve[curve.length - 1].at - curve[0].at) / 1000));
  $("spark-caption").textContent = `latency of the last ${seconds} s; the worst was ${ms(top / 1.08)}`;
}

const clock = (mhz) => (mhz >= 1000 ? `${(mhz / 1000).toFixed(2)} GHz` : `${Math.round(mhz)} MHz`);

function duration(s) {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${Math.floor(s) % 60} s` : `${Math.floor(s)} s`;
}

function showMachine({ machine, memory_bytes, uptime_s, runtime, viewers }) {
  const reasons = machine?.throttle_reasons;
  const current = reasons?.filter((reason) => reason.endsWith("now")) ?? [];
  const told = current.length ? current : reasons ?? [];
  const banner = $("throttle");
  banner.hidden = !told.length;
  const text = told.length ? `${current.length ? "Slowed down" : "Was slowed down"}: ${told.join(", ")}` : "";
  if (banner.textContent !== text) banner.textContent = text;
  banner.className = `throttle ${current.length ? "now" : "before"}`;
  const hot = machine?.temperature_c >= 80;
  const heat = $("heat");
  heat.hidden = machine?.temperature_c == null;
  if (!heat.hidden) heat.textContent = `${Math.round(machine.temperature_c)} °C`;
  heat.classList.toggle("hot", Boolean(hot || current.length));
  const facts = [
    ["temperature", machine?.temperature_c != null && `${machine.temperature_c.toFixed(1)} °C`, hot],
    ["throttling", reasons && (reasons.length ? (current.length ? "yes, now" : "not now, but since boot") : "none"), current.length > 0],
    ["clock", machine?.clock_mhz != null && [clock(machine.clock_mhz), machine.governor].filter(Boolean).join(", ")],
    ["memory of litesight", memory_bytes != null && `${Math.round(memory_bytes / 1e6)} MB`],
    ["running for", duration(uptime_s)],
    ["watching", viewers === 1 ? "only you" : `${viewers}`],
    ["runtime", runtime],
  ].filter(([, value]) => value);
  const list = $("facts");
  while (list.children.length > 2 * facts.length) list.lastChild.remove();
  facts.forEach(([name, value, alarming], place) => {
    if (!list.children[2 * place]) list.append(make("dt"), make("dd"));
    list.children[2 * place].textContent = name;
    const cell = list.children[2 * place + 1];
    cell.textContent = value;
    cell.className = alarming ? "hot" : "";
  });
}

function showEvents(events) {
  $("events-card").hidden = !events.length;
  $("events").replaceChildren(...events.map(({ text, ago_s }) => {
    const row = make("li", "", text);
    row.append(make("span", "", `${duration(ago_s)} ago`));
    return row;
  }));
}

connect();
