'use strict';
// What is set here can be set in the address too: report.html#overlay=0.3&sign=positive&photo=colour&open=all
(() => {
  const all = selector => document.querySelectorAll(selector);
  const slider = document.getElementById('overlay');
  const shown = document.getElementById('overlay-shown');
  const filter = document.getElementById('filter');

  function overlay(share) {
    if (!slider) return;
    slider.value = share;
    shown.textContent = Math.round(share * 100) + ' %';
    all('.layer').forEach(layer => { layer.style.opacity = share; });
  }

  function sign(which) {
    all('input[name=sign]').forEach(input => { input.checked = input.value === which; });
    all('.layer.positive').forEach(layer => { layer.hidden = which === 'negative'; });
    all('.layer.negative').forEach(layer => { layer.hidden = which === 'positive'; });
  }

  function colour(on) {
    const box = document.getElementById('colour');
    if (box) box.checked = on;
    document.body.classList.toggle('coloured', on);
  }

  function find(text) {
    const wanted = text.toLowerCase();
    all('details.input').forEach(input => { input.hidden = !input.querySelector('.name').textContent.toLowerCase().includes(wanted); });
  }

  function address() {
    const set = new URLSearchParams(location.hash.slice(1));
    const share = parseFloat(set.get('overlay'));
    overlay(Number.isFinite(share) ? Math.min(Math.max(share, 0), 1) : 1);
    sign(['positive', 'negative'].includes(set.get('sign')) ? set.get('sign') : 'both');
    colour(set.get('photo') === 'colour');
    const open = set.get('open');
    if (open !== null) all('details.input').forEach((input, i) => { input.open = open === 'all' || String(i + 1) === open; });
    if (filter && set.has('find')) { filter.value = set.get('find'); find(filter.value); }
  }

  if (slider) slider.addEventListener('input', () => overlay(Number(slider.value)));
  all('input[name=sign]').forEach(input => input.addEventListener('change', () => sign(input.value)));
  const box = document.getElementById('colour');
  if (box) box.addEventListener('change', () => colour(box.checked));
  if (filter) filter.addEventListener('input', () => find(filter.value));
  addEventListener('hashchange', address);
  address();
})();
