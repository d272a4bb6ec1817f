use clap::CommandFactory;

use super::*;

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_teaches() {
    for command in Cli::command().get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{name} shows no example: {help}");
        assert!(command.get_long_about().is_some(), "{name} does not say what it does");
    }
}

/// Lines that are broken by hand are not broken again.
#[test]
fn examples_fit_in_lines_of_help() {
    for command in Cli::command().get_subcommands_mut() {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
        }
    }
}

/// There is a manual page for each command, and an overview; they are written anew with UPDATE_MAN=1.
#[test]
fn the_manual_pages_are_up_to_date() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = manual_pages();
    let known = |name: &str| pages.iter().any(|(page, _)| page == name);
    let found =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale: Vec<String> = found.filter(|name| name.ends_with(".1") && !known(name)).collect();
    if std::env::var_os("UPDATE_MAN").is_some() {
        pages.iter().for_each(|(name, page)| std::fs::write(dir.join(name), page).unwrap());
        stale.iter().for_each(|name| std::fs::remove_file(dir.join(name)).unwrap());
    } else {
        assert!(stale.is_empty(), "{stale:?} tell of no command: UPDATE_MAN=1 removes them");
    }
    for (name, page) in &pages {
        let found = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        assert!(found == *page, "man/{name} is not what the parser says: UPDATE_MAN=1 writes it anew");
    }
}

/// The name and text of each page of section 1.
fn manual_pages() -> Vec<(String, String)> {
    let mut command = Cli::command();
    command.build();
    let shown: Vec<clap::Command> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    let mut pages = vec![("strata.1".to_owned(), overview(&command, &shown))];
    pages.extend(shown.iter().map(|sub| (format!("strata-{}.1", sub.get_name()), page_of(sub))));
    pages
}

fn overview(command: &clap::Command, shown: &[clap::Command]) -> String {
    let mut commands = String::from(".SH COMMANDS\nEach has a page of its own.\n");
    for sub in shown {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let name = escape(sub.get_name());
        commands += &format!(".TP\n\\fBstrata\\-{name}\\fR(1)\n{}\n", escape(&about));
    }
    let see = "strata(7), strata\\-performance(7), mount(8), fstab(5)";
    page(
        command,
        "strata",
        "strata [\\-\\-store DIR] COMMAND",
        &format!("{commands}{}", example(EXAMPLE)),
        see,
    )
}

fn page_of(sub: &clap::Command) -> String {
    let name = format!("strata-{}", sub.get_name());
    let usage = sub.clone().render_usage().to_string().replacen("Usage: ", "", 1);
    let example = sub.get_after_help().map(|text| example(&text.to_string())).unwrap_or_default();
    page(
        &sub.clone().mut_arg("help", |arg| arg.hide(true)),
        &name,
        &escape(&usage),
        &example,
        "strata(1), strata(7)",
    )
}

fn example(text: &str) -> String {
    let text = text.strip_prefix("Examples:\n").or(text.strip_prefix("Example:\n")).unwrap_or(text);
    format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escape(text))
}

/// A page; name, synopsis and what follows the options are not as clap_mangen writes them.
fn page(command: &clap::Command, name: &str, synopsis: &str, end: &str, see: &str) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let man = clap_mangen::Man::new(command.clone())
        .title(name)
        .date("")
        .source(concat!("strata ", env!("CARGO_PKG_VERSION")));
    let mut title = Vec::new();
    man.render_title(&mut title).unwrap();
    let mut body = Vec::new();
    man.render_description_section(&mut body).unwrap();
    man.render_options_section(&mut body).unwrap();
    let [title, body] = [title, body].map(|part| String::from_utf8(part).unwrap());
    let (name, about) = (escape(name), escape(&about));
    let head = format!(".SH NAME\n{name} \\- {about}\n.SH SYNOPSIS\n.nf\n{synopsis}\n.fi\n");
    let page = format!("{title}{head}{body}{end}.SH \"SEE ALSO\"\n{see}\n");
    // Each part brings the same definitions along; once is enough.
    page.replace(PREAMBLE, "").replacen("", PREAMBLE, 1)
}

/// What clap_mangen puts before each part: an apostrophe for troff.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Text as troff takes it literally.
fn escape(text: &str) -> String {
    let literal = text.replace('\\', "\\e").replace('-', "\\-");
    let safe = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    };
    literal.lines().map(safe).collect::<Vec<_>>().join("\n")
}
