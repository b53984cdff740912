// What a person chose for this browser. No secrets are kept here.

import { moment, clock, rfc3339, type Zone } from './format';

export type Theme = 'auto' | 'light' | 'dark';
export type Language = 'en' | 'zh';

const key = 'zbus.settings';

interface Stored {
  theme?: Theme;
  zone?: Zone;
  language?: Language;
}

function stored(): Stored {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '{}') as Stored;
  } catch {
    return {};
  }
}

class Settings {
  theme = $state<Theme>('auto');
  zone = $state<Zone>('local');
  language = $state<Language>('en');

  constructor() {
    const s = stored();
    if (s.theme === 'light' || s.theme === 'dark') this.theme = s.theme;
    if (s.zone === 'utc') this.zone = 'utc';
    this.language = s.language ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');
  }

  set(change: Stored) {
    Object.assign(this, change);
    const { theme, zone, language } = this;
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(key, JSON.stringify({ theme, zone, language }));
    } catch {
      // Without storage the choice holds until the page is closed.
    }
  }
}

export const settings = new Settings();

/** at is a full moment in the zone that is shown; clockAt, the time of day. */
export const at = (time: string | number | undefined) => moment(time, settings.zone);
export const clockAt = (time: string | number | undefined) => clock(time, settings.zone);
/** both is a moment in both zones, for tooltips. */
export const both = (time: string | number | undefined) =>
  time ? `${rfc3339(time, 'utc')}\n${rfc3339(time, 'local')}` : '';
