// Draws what map_html.py describes, whenever it is shown anew. Gradio gives `element`, `trigger`, `watch` and `server`.
const COLOURS = 6, SHAPES_FROM = COLOURS, MOST_ZOOM = 400, REACH = 16, WAIT = 60;

function decoded(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer);
}

function start() {
  const section = element.querySelector('.map');
  if (!section || section.dataset.begun) return;
  section.dataset.begun = '1';
  const data = JSON.parse(section.dataset.map);
  const points = decoded(data.points, Uint16Array), person = decoded(data.person, Uint32Array);
  const canvas = section.querySelector('canvas'), card = section.querySelector('.card'), pen = canvas.getContext('2d');
  const hits = new Map(data.hits.map((hit) => [hit.row, hit.said]));
  const place = new Map(data.known.map((who, at) => [who, at]));
  const pictures = new Map(), fingers = new Map();
  let width = 1, height = 1, view = {x: 32768, y: 32768, zoom: 1};
  let only = null, seen = -1, pinned = false, moved = 0, waiting = 0, asked = 0, gap = 0;

  // From steps of the map to pixels of the canvas, and back.
  const scale = () => (Math.min(width, height) - 24) / 65536 * view.zoom;
  const across = (x) => (x - view.x) * scale() + width / 2;
  const down = (y) => (y - view.y) * scale() + height / 2;
  const at = (row) => [across(points[2 * row]), down(points[2 * row + 1])];

  function draw() {
    waiting = 0;
    const style = getComputedStyle(section), colour = (name) => style.getPropertyValue(name).trim();
    const ratio = devicePixelRatio || 1, room = Math.min(1, Math.max(0.7, Math.min(width, height) / 600));
    const size = Math.min(6, 1.3 * room * view.zoom ** 0.45 + (person.length < 500 ? 1.5 : 0));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const groups = [[], ...data.known.map(() => [])];
    for (let row = 0; row < person.length; row++) {
      const [x, y] = at(row);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      groups[1 + (place.get(person[row]) ?? -1)].push(x, y);
    }
    groups.forEach((group, number) => {
      const who = number - 1, chosen = only === null || place.get(only) === who;
      pen.fillStyle = colour(who < 0 || !chosen ? '--muted' : `--k${who % COLOURS}`);
      pen.beginPath();
      for (let i = 0; i < group.length; i += 2) shape(group[i], group[i + 1], who < 0 || !chosen ? size : size + 1.2, who);
      pen.fill();
    });
    pen.strokeStyle = pen.fillStyle = colour('--body-text-color');
    pen.lineWidth = 1.5;
    for (const row of hits.keys()) ring(...at(row), size + 4);
    if (seen >= 0) { pen.lineWidth = 3; ring(...at(seen), size + 5); }
    for (const query of data.queries) cross(across(query.x), down(query.y), query.name, colour('--background-fill-primary'));
  }

  function shape(x, y, size, who) {
    if (who < 0 && size < 2.5) return pen.rect(x - size, y - size, 2 * size, 2 * size);  // many, and quicker
    if (who < SHAPES_FROM) { pen.moveTo(x + size, y); return pen.arc(x, y, size, 0, 7); }
    size *= 1.25;
    pen.moveTo(x, y - size); pen.lineTo(x + size, y); pen.lineTo(x, y + size); pen.lineTo(x - size, y); pen.closePath();
  }

  function ring(x, y, size) { pen.beginPath(); pen.arc(x, y, size, 0, 7); pen.stroke(); }

  function cross(x, y, name, behind) {
    const front = pen.strokeStyle;
    for (const [line, ink] of [[7, behind], [3, front]]) {
      pen.lineWidth = line; pen.strokeStyle = ink; pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(x + 7 * dx, y + 7 * dy); pen.lineTo(x + 18 * dx, y + 18 * dy); }
      pen.stroke();
    }
    pen.font = '600 13px system-ui, sans-serif'; pen.textBaseline = 'middle';
    const left = Math.min(x + 22, width - pen.measureText(name).width - 4);
    pen.lineWidth = 4; pen.strokeStyle = behind; pen.strokeText(name, left, y - 12); pen.fillText(name, left, y - 12);
    pen.strokeStyle = front;
  }

  function soon() { waiting ||= requestAnimationFrame(draw); }

  function zoomTo(factor, x = width / 2, y = height / 2) {
    const before = scale();
    view.zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
    const change = 1 / before - 1 / scale();
    move(-(x - width / 2) * change, -(y - height / 2) * change, 1);
  }

  function move(dx, dy, unit = 1 / scale()) {
    view.x = Math.min(65535, Math.max(0, view.x - dx * unit));
    view.y = Math.min(65535, Math.max(0, view.y - dy * unit));
    if (pinned) putCard(); else leave();
    soon();
  }

  function whole() { view = {x: 32768, y: 32768, zoom: 1}; leave(); soon(); }

  function yours() {
    view = {x: data.queries[0].x, y: data.queries[0].y, zoom: Math.max(view.zoom, Math.min(8, person.length / 100))};
    leave(); soon();
  }

  function nearest(x, y, measure = Math.hypot, reach = REACH) {
    let found = -1, least = reach;
    for (let row = 0; row < person.length; row++) {
      if (only !== null && person[row] !== only) continue;
      const [left, top] = at(row), far = measure(left - x, top - y);
      // Of those at one place a result comes first: it is what is looked for.
      if (far < least || (far === least && found >= 0 && hits.has(row) && !hits.has(found))) [found, least] = [row, far];
    }
    return found;
  }

  // The card: a photo, who it shows, and once it is pinned a button to search with it.
  function show(row, pin) {
    if (row === seen && pin === pinned) return;
    [seen, pinned] = [row, pin];
    card.replaceChildren();
    card.classList.toggle('pinned', pin);
    if (row >= 0) {
      const image = new Image(104, 104), name = document.createElement('b'), said = document.createElement('span');
      image.alt = '';
      name.textContent = data.people[person[row]];
      said.textContent = hits.get(row) ?? '';
      card.append(image, name, said);
      if (pin) card.append(button('Search with this photo', () => search(row)), button('Close', () => { show(-1, false); canvas.focus(); }));
      const mine = ++asked;
      // While the pointer runs over many, none is asked for.
      setTimeout(() => mine === asked && picture(row).then((told) => {
        if (mine !== asked) return;
        if (told.picture) image.src = told.picture; else said.textContent = told.problem ?? 'This photo cannot be shown.';
      }), pin ? 0 : WAIT);
    }
    putCard(); soon();
  }

  function button(text, act) {
    const made = document.createElement('button');
    made.type = 'button'; made.textContent = text; made.addEventListener('click', act);
    return made;
  }

  function picture(row) {
    if (!pictures.has(row)) {
      const told = server.map_point([data.gallery, data.recipe, data.fingerprint, row]).catch(() => ({}));
      pictures.set(row, told);
      told.then((each) => each.picture || pictures.delete(row));
    }
    return pictures.get(row);
  }

  function search(row) {
    picture(row).then((told) => told.photo !== undefined && trigger('select', {photo: told.photo}));
  }

  function putCard() {
    card.hidden = seen < 0;
    if (seen < 0) return;
    const [x, y] = at(seen), [wide, tall] = [card.offsetWidth, card.offsetHeight];
    const left = x + 16 + wide < width ? x + 16 : x - 16 - wide;
    card.style.left = `${Math.max(4, Math.min(left, width - wide - 4))}px`;
    card.style.top = `${Math.max(4, Math.min(y - tall / 2, height - tall - 4))}px`;
  }

  function leave() { if (!pinned && seen >= 0) show(-1, false); }

  const spot = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, spot(event));
    [moved, gap] = [0, 0];
  });
  canvas.addEventListener('pointermove', (event) => {
    const before = fingers.get(event.pointerId), [x, y] = spot(event);
    if (!before) { if (!pinned) show(nearest(x, y), false); return; }
    fingers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (fingers.size === 1 && moved > 4) move(x - before[0], y - before[1]);
    if (fingers.size === 2) {
      const [one, two] = [...fingers.values()], apart = Math.hypot(one[0] - two[0], one[1] - two[1]);
      if (gap) zoomTo(apart / gap, (one[0] + two[0]) / 2, (one[1] + two[1]) / 2);
      [gap, moved] = [apart, 99];
    }
  });
  canvas.addEventListener('pointerup', (event) => {
    if (fingers.size === 1 && moved <= 4) { const row = nearest(...spot(event)); show(row, row >= 0); }
    fingers.delete(event.pointerId); gap = 0;
  });
  canvas.addEventListener('pointercancel', (event) => fingers.delete(event.pointerId));
  canvas.addEventListener('pointerleave', leave);
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    zoomTo(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...spot(event));
  }, {passive: false});

  const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener('keydown', (event) => {
    const {key} = event, [dx, dy] = ARROWS[key] ?? [0, 0];
    if (key in ARROWS) step(dx, dy);
    else if (key === '+' || key === '=') zoomTo(1.6, ...(seen < 0 ? [] : at(seen)));
    else if (key === '-') zoomTo(1 / 1.6);
    else if (key === '0') whole();
    else if (key === 'Enter' && seen >= 0) { show(seen, true); card.querySelector('button').focus(); }
    else if (key === 'Escape') show(-1, false);
    else return;
    event.preventDefault();
  });

  // To the next point that way; from nowhere, to the visitor's photo or the middle.
  function step(dx, dy) {
    const first = data.queries[0];
    if (seen < 0 && first) return show(nearest(across(first.x), down(first.y), Math.hypot, Infinity), true);
    const [x, y] = seen < 0 ? [width / 2, height / 2] : at(seen);
    const that_way = (right, below) => {
      const ahead = right * dx + below * dy;
      return ahead > 3 ? ahead + 2 * Math.abs(right * dy - below * dx) : Infinity;
    };
    const row = nearest(x, y, seen < 0 ? Math.hypot : that_way, Infinity);
    if (row < 0) return;
    show(row, true);
    const [left, top] = at(row);
    if (left < 20 || top < 20 || left > width - 20 || top > height - 20) move(width / 2 - left, height / 2 - top);
  }

  const DO = {in: () => zoomTo(1.6), out: () => zoomTo(1 / 1.6), whole, yours};
  section.addEventListener('click', (event) => {
    const pressed = event.target.closest('button');
    if (pressed?.dataset.do) DO[pressed.dataset.do]();
    if (pressed?.dataset.person) {
      only = only === +pressed.dataset.person ? null : +pressed.dataset.person;
      for (const each of section.querySelectorAll('[data-person]')) each.setAttribute('aria-pressed', String(+each.dataset.person === only));
      show(-1, false); soon();
    }
  });
  card.addEventListener('keydown', (event) => { if (event.key === 'Escape') { show(-1, false); canvas.focus(); } });

  const sized = new ResizeObserver(() => {
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [width * (devicePixelRatio || 1), height * (devicePixelRatio || 1)];
    putCard();
    if (width) { draw(); section.dataset.drawn = '1'; }  // at once: to size a canvas anew wipes it
  });
  sized.observe(canvas);
  const themed = new MutationObserver(soon);  // light and dark
  themed.observe(document.body, {attributeFilter: ['class']});
  ended = () => { sized.disconnect(); themed.disconnect(); };
  putCard();
}

// Of the time that drawing takes, what is left; the server's guess may be too short.
setInterval(() => {
  const told = element.querySelector('[data-left]');
  if (!told) return;
  const left = --told.dataset.left;
  told.textContent = left > 89 ? `about ${Math.round(left / 60)} min left` : left > 0 ? `about ${left} s left` : 'any moment now';
}, 1000);

let ended = () => {};
watch('value', () => { if (element.querySelector('.map:not([data-begun])')) { ended(); start(); } });
start();
