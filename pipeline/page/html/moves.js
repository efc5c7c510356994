// Photos that are in both answers move to their new places, unless the visitor wants nothing to move.
const still = matchMedia('(prefers-reduced-motion: reduce)');
let before = new Map();
new MutationObserver(() => {
  const places = new Map();
  for (const tile of element.querySelectorAll('.grid .tile')) {
    const photo = tile.querySelector('.pick').dataset.photo, [x, y] = before.get(photo) || [tile.offsetLeft, tile.offsetTop];
    places.set(photo, [tile.offsetLeft, tile.offsetTop]);
    const [left, top] = [x - tile.offsetLeft, y - tile.offsetTop];
    if ((left || top) && !still.matches)
      tile.animate({transform: [`translate(${left}px, ${top}px)`, 'none']}, {duration: 250, easing: 'ease-out'});
  }
  before = places;
}).observe(element, {childList: true, subtree: true});
