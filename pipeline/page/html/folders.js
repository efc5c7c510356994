// What Gradio's drop zone leaves out: a folder that is dropped becomes the files in it, each called by its path there;
const path = (entry) => entry.fullPath.slice(1);
const read = (entry) => new Promise((done, failed) => entry.file(done, failed));
async function below(entry) {
  if (entry.isFile)  // one that may not be read is counted all the same, with no content
    return [await read(entry).then((file) => named(file, path(entry)), () => new File([], path(entry)))];
  const reader = entry.createReader(), inside = [];
  for (let some = [null]; some.length;) {  // it tells of a hundred at a time
    some = await new Promise((done, failed) => reader.readEntries(done, failed));
    inside.push(...some);
  }
  return (await Promise.all(inside.map(below))).flat();
}
// videos are only counted, and what they hold is not sent.
function named(file, name) {
  return new File(/^(video|audio)\//.test(file.type) ? [] : [file], name, {type: file.type});
}
const say = (text) => { element.querySelector('[role=status]').textContent = text; };
const BEFORE = 'What you dropped before is still being taken in; drop these again in a moment.';
const occupied = () => document.querySelector('#own-drop :is(.uploading, .file-preview)');
function hand(files) {
  if (occupied()) return say(BEFORE);
  const data = new DataTransfer();
  for (const file of files) data.items.add(file);
  const zone = document.querySelector('#own-drop input[type=file]').parentElement;
  zone.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
  if (!files.length) say('There are no files in this folder.');
}
// While it uploads files, or shows them until the server has answered, the zone takes no others: Gradio's would break.
for (const way of ['drop', 'change'])
  document.addEventListener(way, (given) => {
    if (!given.target.closest('#own-drop')) return;
    say(occupied() ? BEFORE : '');
    if (!occupied()) return;
    given.preventDefault();
    given.stopImmediatePropagation();
  }, true);
document.addEventListener('drop', (drop) => {
  if (!drop.isTrusted || !drop.target.closest('#own-drop')) return;
  const entries = [...drop.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return;
  drop.preventDefault();
  drop.stopImmediatePropagation();
  Promise.all(entries.map(below)).then((found) => hand(found.flat()));
}, true);
// And a folder can be chosen, where the browser can.
const input = Object.assign(document.createElement('input'), {type: 'file', webkitdirectory: true, hidden: true});
input.addEventListener('change', () => {
  hand([...input.files].map((file) => named(file, file.webkitRelativePath)));
  input.value = '';
});
element.innerHTML = '<p><button type="button">Choose a folder</button> <span role="status"></span></p>';
element.querySelector('button').addEventListener('click', () => input.click());
element.querySelector('button').hidden = !('webkitdirectory' in HTMLInputElement.prototype);
element.append(input);
