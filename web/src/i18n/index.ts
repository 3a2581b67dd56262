import i18next from "i18next";
import { initReactI18next } from "react-i18next";

export const LANGUAGES = ["en", "zh-CN"] as const;
export type Language = (typeof LANGUAGES)[number];

const STORAGE_KEY = "tallygate.language";

// Each language is a chunk of its own: a reader loads one.
const LOADERS: Record<Language, () => Promise<{ default: object }>> = {
  en: () => import("./en"),
  "zh-CN": () => import("./zh-CN"),
};

function preferred(): Language {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (stored === "en" || stored === "zh-CN") return stored;
  return navigator.languages.some((language) => language.toLowerCase().startsWith("zh"))
    ? "zh-CN"
    : "en";
}

async function load(language: Language): Promise<void> {
  if (i18next.hasResourceBundle(language, "common")) return;
  const bundle = (await LOADERS[language]()).default;
  for (const [namespace, keys] of Object.entries(bundle)) {
    i18next.addResourceBundle(language, namespace, keys, true, true);
  }
}

export async function changeLanguage(language: Language): Promise<void> {
  await load(language);
  localStorage.setItem(STORAGE_KEY, language);
  document.documentElement.lang = language;
  await i18next.changeLanguage(language);
}

export async function startI18n(language: Language = preferred()): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: false,
    defaultNS: "common",
    resources: {},
    interpolation: { escapeValue: false },
  });
  await load(language);
  document.documentElement.lang = language;
  await i18next.changeLanguage(language);
}
