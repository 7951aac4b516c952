'use strict';
{
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const say = text => { document.getElementById('said').textContent = text; };

  // Theme: the system's, until the reader chooses; the choice is remembered where the browser lets a file do so.
  const theme = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const remembered = value => {
    try {
      if (value) localStorage.setItem('mimiidg-theme', value);
      return localStorage.getItem('mimiidg-theme');
    } catch { return null; }
  };
  const isDark = () => (root.style.colorScheme || (system.matches ? 'dark' : 'light')) === 'dark';
  const paint = () => {
    theme.setAttribute('aria-pressed', String(isDark()));
  };
  if (['light', 'dark'].includes(remembered())) root.style.colorScheme = remembered();
  theme.addEventListener('click', () => {
    root.style.colorScheme = isDark() ? 'light' : 'dark';
    remembered(root.style.colorScheme);
    paint();
  });
  system.addEventListener('change', paint);
  theme.hidden = false;
  paint();

  // Tables sort by a press on a column's title, numbers best first; cells without a number or text stay at the end.
  const key = cell => cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
  const blank = value => value === '' || Number.isNaN(value);
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number'
    ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
  for (const table of all('table.sortable')) {
    const titles = all('thead th', table);
    titles.forEach((title, column) => title.querySelector('button').addEventListener('click', () => {
      const current = title.getAttribute('aria-sort');
      const descending = current ? current === 'ascending' : title.dataset.first === 'descending';
      titles.forEach(other => other.removeAttribute('aria-sort'));
      title.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      const body = table.tBodies[0];
      const rows = [...body.rows].map(row => [key(row.cells[column]), row]);
      rows.sort(([a], [b]) => blank(a) - blank(b) || (descending ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([, row]) => row));
      say(`sorted by ${title.textContent}, ${descending ? 'descending' : 'ascending'}`);
    }));
  }

  // Tables that go on to the right say so, until they are scrolled to their end.
  const cue = within => within.parentElement.classList.toggle(
    'goes-on', within.scrollLeft + within.clientWidth < within.scrollWidth - 2);
  const resized = new ResizeObserver(entries => { for (const entry of entries) cue(entry.target); });
  for (const within of all('.tabled .scroll')) {
    within.addEventListener('scroll', () => cue(within), { passive: true });
    resized.observe(within);
  }

  // Sounds: one at a time, with a line that moves over the spectrogram. A press where nothing plays starts there.
  let playing = null;
  for (const part of all('.part')) {
    const audio = part.querySelector('audio'), button = part.querySelector('.play'), line = part.querySelector('.playhead');
    const move = () => {
      line.style.left = `${100 * audio.currentTime / (audio.duration || Infinity)}%`;
      if (!audio.paused) requestAnimationFrame(move);
    };
    audio.controls = false;
    audio.addEventListener('play', () => {
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      line.hidden = false;
      button.setAttribute('aria-pressed', 'true');
      move();
    });
    audio.addEventListener('pause', () => button.setAttribute('aria-pressed', 'false'));
    audio.addEventListener('ended', () => { line.hidden = true; audio.currentTime = 0; });
    button.addEventListener('click', () => audio.paused ? audio.play() : audio.pause());
  }

  // One system at a time.
  const choice = document.getElementById('system');
  if (choice) {
    const show = () => {
      const chosen = choice.querySelector('input:checked').value;
      for (const of of all('.system')) of.hidden = of.id !== chosen;
    };
    choice.hidden = false;
    choice.addEventListener('change', show);
    show();
  }

  // Where the reader is.
  const links = new Map(all('nav a').map(link => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries.filter(entry => entry.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute('aria-current');
      const link = links.get(entry.target.id);
      link.setAttribute('aria-current', 'true');
      link.closest('ol').scrollLeft = link.offsetLeft - 24;  // on a narrow screen the list scrolls sideways
    }
  }, { rootMargin: '-20% 0px -75% 0px' });
  for (const id of links.keys()) seen.observe(document.getElementById(id));
}
