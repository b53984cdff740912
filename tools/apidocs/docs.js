'use strict';
// The forms with which operations are tried at the broker that has sent this page. Nothing is kept, and what
// comes from the broker is shown as text.
(() => {
  const root = new URL('.', location.href); // of the API, wherever a proxy has put it
  for (const example of document.querySelectorAll('pre.example')) {
    example.textContent = example.textContent.replace('http://127.0.0.1:15555/api/', root.href);
  }
  const most = 200000; // characters of an answer that are shown
  const make = (name, properties, ...children) => {
    const e = Object.assign(document.createElement(name), properties);
    e.append(...children);
    return e;
  };

  function form(article) {
    const { method, path, parameters, body } = article.dataset;
    const fields = JSON.parse(parameters).map((p) => ({ ...p, input: make('input', { name: p.name, value: p.value || '', required: p.required, autocomplete: 'off' }) }));
    const token = make('input', { type: 'password', name: 'token', autocomplete: 'off', placeholder: 'none, or that of the login' });
    const text = body === undefined ? undefined : make('textarea', { name: 'body', value: body, rows: Math.min(12, body.split('\n').length + 1), spellcheck: false });
    const send = make('button', { type: 'submit', textContent: `Send to ${root.host}` });
    const status = make('p', { className: 'status' });
    status.setAttribute('role', 'status');
    const answer = make('pre', { className: 'answer', hidden: true, tabIndex: 0 });
    let running;

    async function ask() {
      const values = new URLSearchParams();
      let to = path;
      const headers = {};
      for (const { name, in: where, input } of fields) {
        if (where === 'path') to = to.replace(`{${name}}`, encodeURIComponent(input.value));
        else if (input.value !== '' && where === 'query') values.append(name, input.value);
        else if (input.value !== '' && where === 'header') headers[name] = input.value;
      }
      if (token.value !== '') headers.Authorization = `Bearer ${token.value}`;
      if (text && text.value.trim() !== '') headers['Content-Type'] = 'application/json';
      const query = values.size > 0 ? `?${values}` : '';
      running = new AbortController();
      send.textContent = 'Stop';
      status.textContent = '…';
      answer.hidden = true;
      answer.textContent = '';
      let got = '';
      try {
        const url = new URL(to.replace(/^\/api\//, '') + query, root);
        const r = await fetch(url, { method, headers, body: headers['Content-Type'] && text.value, signal: running.signal });
        status.textContent = `${r.status} ${r.statusText}`;
        answer.hidden = false;
        const decoder = new TextDecoder();
        for (const reader = r.body.getReader(); got.length < most; ) {
          const { done, value } = await reader.read();
          if (done) break;
          got += decoder.decode(value, { stream: true });
          answer.textContent = got.slice(0, most);
        }
        if (got.length >= most) {
          status.textContent += `, the first ${most} characters`;
          running.abort();
        } else if ((r.headers.get('Content-Type') || '').includes('json')) {
          answer.textContent = JSON.stringify(JSON.parse(got), null, 2);
        }
        answer.hidden = got === '';
      } catch (e) {
        status.textContent = e.name === 'AbortError' ? 'stopped' : String(e.message || e);
      }
      running = undefined;
      send.textContent = `Send to ${root.host}`;
    }

    const f = make('form', {});
    for (const { name, input } of fields) f.append(make('label', {}, name, input));
    f.append(make('label', {}, 'token', token));
    if (text) f.append(make('label', {}, 'body', text));
    f.append(send, status, answer);
    f.addEventListener('submit', (event) => {
      event.preventDefault();
      if (running) running.abort();
      else ask();
    });
    return f;
  }

  for (const article of document.querySelectorAll('article[data-method]')) {
    const details = make('details', { className: 'try' }, make('summary', { textContent: 'Try it' }));
    details.addEventListener('toggle', () => details.open && details.childElementCount === 1 && details.append(form(article)));
    article.append(details);
  }
})();
