// The tab "Live": one frame goes to the server, and the next only after its answer, so that none ever waits.
// Runs as the component's `js_on_load`; `element` is the component, `window.liveChoice` what is chosen under Search.
const SIDE = 320;         // px, the frame's longer one: a face before a webcam has 60 to 120 of them, as in LFW
const QUALITY = 0.85;     // of its JPEG
const LEAST_MS = 66;      // between two frames: faster than 15 a second nobody can read
const BUSY_MS = 250;      // before the next frame, when the server had no room for this one
const PATIENCE_MS = 10000; // for an answer
const GONE_MS = 1000;     // after which the results of a face that is not seen any more go too
const WINDOW_MS = 2000;   // over which updates are counted
const NO_CAMERA = 'No camera was found; connect one, then start again.';
const REASONS = {
  NotAllowedError: 'The camera was not allowed; allow it for this page in the browser, then start again.',
  NotFoundError: NO_CAMERA,
  OverconstrainedError: NO_CAMERA,
  NotReadableError: 'Another program is using the camera; close it, then start again.',
};
const INSECURE = 'Browsers give the camera only to pages over https or on this computer; open this page so.';
const OTHERWISE = 'The camera cannot be used here; try another browser or another camera.';
const UNPLUGGED = 'The camera is gone; connect it again, then start again.';
const BUSY = 'The server is busy with other visitors; this goes on by itself.';
const UNREACHABLE = 'The server cannot be reached; start again when it can.';

const part = (name) => element.querySelector(`[data-live=${name}]`);
const [button, stage, video, box, sentence, rate, list] =
  ['button', 'stage', 'video', 'box', 'sentence', 'rate', 'hits'].map(part);
const canvas = document.createElement('canvas');
const opening = sentence.textContent;
let run = 0;         // the number of the run that is on, so that what comes late for an earlier one is ignored
let stream = null;   // the camera, while it is on
let answered = [];   // when the last answers came, ms
let seen = 0;        // when the last face was seen, ms

const say = (text) => { if (sentence.textContent !== text) sentence.textContent = text; };
const left = () => document.hidden || element.getClientRects().length === 0;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function end(text = opening) {
  run += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  stage.classList.remove('on');
  box.hidden = true;
  rate.textContent = '';
  list.replaceChildren();
  button.textContent = 'Start';
  say(text);
}

async function begin() {
  run += 1;
  const mine = run;
  button.textContent = 'Stop';
  say('Waiting for the camera; allow it if the browser asks.');
  if (!navigator.mediaDevices) return end(INSECURE);
  let camera;
  try {
    camera = await navigator.mediaDevices.getUserMedia({
      video: {facingMode: 'user', width: {ideal: 640}, height: {ideal: 480}}, audio: false,
    });
  } catch (error) {
    if (mine === run) end(REASONS[error.name] ?? OTHERWISE);
    return;
  }
  if (mine !== run) return camera.getTracks().forEach((track) => track.stop());
  stream = camera;
  const [track] = stream.getVideoTracks();
  track.onended = () => end(UNPLUGGED);
  stage.classList.toggle('mirrored', track.getSettings().facingMode !== 'environment');
  video.srcObject = stream;
  try {
    await video.play();
  } catch {
    if (mine === run) end(OTHERWISE);
    return;
  }
  if (mine !== run) return;
  stage.classList.add('on');
  stage.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
  say('');
  answered = [];
  await follow(mine);
}

async function follow(mine) {
  while (mine === run) {
    if (left()) return end();
    const began = performance.now();
    let reply;
    try {
      reply = await ask();
    } catch {
      if (mine === run) end(UNREACHABLE);
      return;
    }
    if (mine !== run) return;
    if (reply.wait) {
      say(reply.detail);
      await pause(1000 * reply.wait);
      continue;
    }
    if (reply.detail) return end(reply.detail);
    if (reply.state === 'dropped') {
      say(BUSY);
      await pause(BUSY_MS);
    } else {
      show(reply);
      count(reply.about);
      await pause(Math.max(0, LEAST_MS - (performance.now() - began)));
    }
  }
}

async function ask() {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  const frame = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', QUALITY));
  const {gallery, recipe, index} = window.liveChoice;
  // In headers and not in the address, which servers on the way may log: a gallery of one's own is known by its key.
  const headers = {'x-gallery': gallery, 'x-recipe': recipe, 'x-index': index};
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch('gradio_api/live', {method: 'POST', body: frame, headers, signal});
  // A visitor who has sent too many frames is told for how many seconds to send none.
  return {...await response.json(), wait: Number(response.headers.get('retry-after'))};
}

function show(reply) {
  const now = performance.now();
  say(reply.sentence);
  box.hidden = reply.box === null;
  if (reply.box) {
    ['left', 'top', 'width', 'height'].forEach((name, at) => { box.style[name] = `${100 * reply.box[at]}%`; });
  }
  if (reply.state === 'found') seen = now;
  if (reply.state === 'found' || now - seen > GONE_MS) fill(reply.hits);
}

function fill(hits) {
  while (list.children.length > hits.length) list.lastElementChild.remove();
  while (list.children.length < hits.length) list.append(tile());
  hits.forEach((hit, at) => {
    const [picture, caption] = list.children[at].children;
    if (picture.dataset.photo !== hit.photo_id) {
      picture.dataset.photo = hit.photo_id;
      picture.src = hit.picture;
    }
    if (caption.textContent !== hit.caption) {
      caption.textContent = hit.caption;
      picture.alt = hit.caption.replaceAll('\n', ', ');
    }
  });
}

function tile() {
  const item = document.createElement('li');
  const caption = document.createElement('div');
  caption.className = 'caption-label';
  item.className = 'tile';
  item.append(document.createElement('img'), caption);
  return item;
}

function count(about) {
  const now = performance.now();
  answered = [...answered.filter((then) => now - then <= WINDOW_MS), now];
  const over = now - answered[0];
  const often = over > WINDOW_MS / 2 ? ` · ${Math.round((1000 * (answered.length - 1)) / over)} updates/s` : '';
  rate.textContent = about + often;
}

button.addEventListener('click', () => (button.textContent === 'Stop' ? end() : begin()));
document.addEventListener('visibilitychange', () => { if (document.hidden && button.textContent === 'Stop') end(); });
