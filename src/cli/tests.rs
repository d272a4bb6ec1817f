use clap::CommandFactory;

use super::*;

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_teaches() {
    for command in Cli::command().get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{name} shows no example: {help}");
        assert!(command.get_long_about().is_some(), "{name} does not say what it does");
    }
}

/// The manual page has a section for each command; it is written anew with UPDATE_MAN=1.
#[test]
fn the_manual_page_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man/strata.1");
    let page = manual_page();
    if std::env::var_os("UPDATE_MAN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "man/strata.1 is not what the parser says: UPDATE_MAN=1 writes it anew");
}

fn manual_page() -> String {
    let mut command = Cli::command();
    command.build();
    let man = clap_mangen::Man::new(command.clone()).date("");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page.extend(format!(".SH \"STRATA {}\"\n", sub.get_name().to_uppercase()).bytes());
        let usage = sub.clone().render_usage().to_string();
        page.extend(format!(".nf\n{}\n.fi\n.PP\n", escape(&usage)).bytes());
        let man = clap_mangen::Man::new(
            sub.clone().mut_arg("store", |arg| arg.hide(true)).mut_arg("help", |arg| arg.hide(true)),
        );
        let mut part = Vec::new();
        man.render_description_section(&mut part).unwrap();
        man.render_options_section(&mut part).unwrap();
        // Sections of a page of its own are parts of a section here.
        let part = String::from_utf8(part).unwrap();
        page.extend(part.replace(".SH DESCRIPTION\n", "").replace(".SH ", ".SS ").bytes());
        if let Some(example) = sub.get_after_help() {
            page.extend(format!(".PP\n.nf\n{}\n.fi\n", escape(&example.to_string())).bytes());
        }
    }
    page.extend(format!(".SH EXAMPLE\n.nf\n{}\n.fi\n", escape(EXAMPLE)).bytes());
    page.extend(b".SH \"SEE ALSO\"\nstrata(7)\n");
    // Each part brings the same definitions along; once is enough.
    let page = String::from_utf8(page).unwrap();
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
