// The portal's script: which edge answers and how far it is, the live channels, an upload.
"use strict";

const WELL_KNOWN = "/.well-known/nearcast";
const SAMPLES = 5;
const KM_PER_MS = 200; // light in fibre, 5 µs for a kilometre
const RETRIES = { maxNumRetry: 40, retryDelayMs: 250, maxRetryDelayMs: 1000 };
const POLICY = { default: { maxTimeToFirstByteMs: 4000, maxLoadTimeMs: 15000, timeoutRetry: RETRIES, errorRetry: RETRIES } };

const find = (id) => document.getElementById(id);
const served = new Map();
let hls = null;
let shownEdge = "";

function show(...ids) {
  for (const id of ids) find(id).hidden = false;
}

function say(id, text, isWrong = false) {
  const place = find(id);
  place.hidden = false;
  place.textContent = text;
  place.classList.toggle("wrong", isWrong);
}

function put(id, main, note = "") {
  const strong = document.createElement("strong");
  strong.textContent = main;
  const small = document.createElement("span");
  small.className = "note";
  small.textContent = note;
  find(id).replaceChildren(strong, ...(note ? [small] : []));
}

// The shortest of some small requests on a connection that is open: the round trip, and the edge's own work.
async function roundTripMs() {
  performance.clearResourceTimings();
  for (let number = 0; number < SAMPLES; number += 1) {
    const answer = await fetch(`${WELL_KNOWN}?sample=${number}`, { cache: "no-store" });
    await answer.arrayBuffer();
  }
  const entries = performance.getEntriesByType("resource").filter((entry) => entry.name.includes(`${WELL_KNOWN}?`));
  const times = entries.map((entry) => entry.responseStart - entry.requestStart).filter((ms) => ms > 0);
  return times.length ? Math.min(...times) : null;
}

async function look() {
  find("look").disabled = true;
  say("look-status", "Asking …");
  try {
    const page = await fetch("/", { method: "HEAD", cache: "no-store" });
    await page.arrayBuffer(); // there is none, but until it is read the request counts as given up
    const about = await (await fetch(WELL_KNOWN, { cache: "no-store" })).json();
    shownEdge = page.headers.get("Nearcast-Edge") || about.edge;
    put("edge", shownEdge, "as its answer says");
    put("version", page.headers.get("Nearcast-Version") || "none", "as this edge serves it");
    put("cache", page.headers.get("Cache-Status") || "not told", "of this page, as the edge says (RFC 9211)");
    put("holds", `${about.files} files`, about.complete ? "everything of the newest version" : "not yet all of the newest version");
    put("load", `${about.load_percent} %`, "of the requests at once that it is made for");
    const ms = await roundTripMs();
    if (ms === null) put("distance", "not measured");
    else put("distance", `${ms.toFixed(1)} ms`, `there and back, at most ${Math.round((ms / 2) * KM_PER_MS)} km of fibre; the shortest of ${SAMPLES} requests, the edge's own time included`);
    say("look-status", "");
    return about;
  } catch (error) {
    say("look-status", `No edge answers: ${error.message}`, true);
    return null;
  } finally {
    find("look").disabled = false;
  }
}

function noteSegment(edge, number) {
  const entry = served.get(edge) || { count: 0, last: 0 };
  served.set(edge, { count: entry.count + 1, last: number });
  const rows = [...served].map(([name, { count, last }]) => {
    const row = document.createElement("tr");
    for (const text of [name, count, last]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  });
  find("served").tBodies[0].replaceChildren(...rows);
  show("served");
  if (edge !== shownEdge && !find("look").disabled) look();
}

function loadPlayer() {
  return new Promise((resolve, reject) => {
    if (window.Hls) return resolve();
    const script = document.createElement("script");
    script.src = "/hls/hls.light.min.js";
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("the player could not be loaded")));
    document.head.append(script);
  });
}

function stop() {
  hls?.destroy();
  hls = null;
  find("video").removeAttribute("src");
  find("video").hidden = true;
  find("play").textContent = "Play";
  say("player-status", "Stopped");
}

async function play() {
  const url = `/live/${encodeURIComponent(find("channel").value)}/index.m3u8`;
  const video = find("video");
  show("video");
  say("player-status", "Starting …");
  find("play").textContent = "Stop";
  await loadPlayer();
  if (!window.Hls.isSupported()) {
    video.src = url; // browsers that play HLS by themselves
    await video.play();
    return;
  }
  // No worker: it would need a blob as a script, which the page's policy forbids.
  hls = new window.Hls({ enableWorker: false, fragLoadPolicy: POLICY, playlistLoadPolicy: POLICY, manifestLoadPolicy: POLICY });
  hls.on(window.Hls.Events.FRAG_LOADED, (_event, { frag, networkDetails }) => {
    noteSegment(networkDetails?.getResponseHeader?.("Nearcast-Edge") || "unknown", frag.sn);
  });
  hls.on(window.Hls.Events.ERROR, (_event, { type, details, fatal }) => {
    if (!fatal) return;
    say("player-status", `The stream broke off (${details}); trying again`, true);
    if (type === window.Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else hls.startLoad();
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  await video.play();
}

async function upload(file) {
  say("upload-status", `Uploading ${file.name} …`);
  const answer = await fetch(`/local/${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
  const place = answer.headers.get("Location");
  const text = (await answer.text()).trim();
  if (!answer.ok || !place) return say("upload-status", `Not taken. ${text}`, true);
  const link = document.createElement("a");
  link.href = place;
  link.textContent = place;
  say("upload-status", `Uploaded to ${answer.headers.get("Nearcast-Edge")}: `);
  find("upload-status").append(link);
}

function failing(id, task) {
  task.catch((error) => say(id, `It did not work: ${error.message}`, true));
}

async function begin() {
  show("facts", "look-row");
  find("look").addEventListener("click", look);
  const about = await look();
  if (about === null) return;
  find("channel").replaceChildren(...about.channels.map((name) => new Option(name, name)));
  if (about.channels.length) show("player");
  else say("player-status", "No channel is on.");
  if (about.upload_bytes) show("upload");
  else say("upload-status", "This edge takes no uploads.");
  find("player").addEventListener("submit", (event) => {
    event.preventDefault();
    if (hls) stop();
    else failing("player-status", play());
  });
  find("video").addEventListener("playing", () => say("player-status", "Playing"));
  find("video").addEventListener("waiting", () => say("player-status", "Waiting for the stream …"));
  find("upload").addEventListener("submit", (event) => {
    event.preventDefault();
    failing("upload-status", upload(find("file").files[0]));
  });
}

begin();
