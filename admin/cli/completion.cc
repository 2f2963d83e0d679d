#include "admin/cli/completion.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "admin/cli/http_client.h"
#include "admin/cli/operator.h"
#include "admin/cli/say.h"

namespace sallyport {

namespace {

constexpr std::string_view kBash = R"(# bash completion for sallyport. Written by `sallyport completion bash`.
_sallyport() {
  # Words are parted at spaces alone: bash's own words end at each colon and = as well.
  local line before current cut words=()
  read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
  [[ "${COMP_LINE:0:COMP_POINT}" == *[[:space:]] ]] && words+=("")
  current=${words[-1]}
  cut=${current%"${current##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r before; do COMPREPLY+=("${before#"$cut"}"); done < <(compgen -f -- "$current")
    else
      line=${line%%$'\t'*}
      COMPREPLY+=("${line#"$cut"}")
    fi
  done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _sallyport sallyport
)";

constexpr std::string_view kZsh = R"(#compdef sallyport
# zsh completion for sallyport. Written by `sallyport completion zsh`.
_sallyport() {
  local line
  local -a lines values
  lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    if [[ $line == :files ]]; then
      _files
    elif [[ -n $line ]]; then
      values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done
  (( $#values )) && _describe 'sallyport' values
}
if [[ ${funcstack[1]} == _sallyport ]]; then _sallyport "$@"; else compdef _sallyport sallyport; fi
)";

constexpr std::string_view kFish = R"(# fish completion for sallyport. Written by `sallyport completion fish`.
function __sallyport_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command $words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c sallyport -f -a '(__sallyport_candidates)'
)";

using Option = CommandText::Option;

// What a server knows of the things that are named there; nothing: it is no name of a server's.
std::optional<Wanted> named_there(const std::string& command, const std::string& name, const std::string& before) {
  const auto of = [&](std::string_view group) { return command.starts_with(group); };
  if (name == "--device" || (name == "ID" && of("device ")))
    return Wanted{"/v1/devices?limit=1000", "id", "cn", "", ""};
  if (name == "--ca" || name == "--also-under" || (name == "ID" && of("ca ")))
    return Wanted{"/v1/cas?limit=1000", "id", "cn", "", ""};
  if (name == "ID") return Wanted{"/v1/server-certificates", "id", "subject", "", ""};
  if (name == "--listener" || (name == "NAME" && of("listener ")))
    return Wanted{"/v1/listeners", "name", "address", "", ""};
  if (name == "NAME" && of("upstream ")) return Wanted{"/v1/upstreams", "name", "balance", "", ""};
  if (name == "SERVER") return Wanted{"/v1/upstreams", "server", "state", "servers", before};
  if (name == "NAME" && of("token ")) return Wanted{"/v1/tokens", "name", "role", "", ""};
  if (name == "SESSION") return Wanted{"/v1/sessions?limit=1000", "id", "cn", "", ""};
  return std::nullopt;
}

// "{table,json}" in a type's name.
std::vector<Candidate> words_of(const std::string& type) {
  std::vector<Candidate> words;
  const std::size_t begin = type.find('{'), end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos) return words;
  std::string word;
  for (const char c : type.substr(begin + 1, end - begin - 1) + ",") {
    if (c != ',') {
      word += c;
    } else {
      words.push_back({std::exchange(word, ""), ""});
    }
  }
  return words;
}

bool takes_file(const Option& option) {
  constexpr std::array<std::string_view, 13> kFiles = {
      "--config", "--token-file", "--socket",         "--cacert",  "--state-dir", "CERT.crt", "CA.crt",
      "DIR",      "FILE",         "VERIFICATION.crt", "STATE_DIR", "CHAIN",       "KEY"};
  return option.name == "CHAIN.crt" || std::find(kFiles.begin(), kFiles.end(), option.name) != kFiles.end();
}

// "-o,--output"
bool is_called(const Option& option, std::string_view word) {
  const std::string names = "," + option.name + ",";
  return names.find("," + std::string(word) + ",") != std::string::npos;
}

void keep_beginning_with(Candidates& found, std::string_view partial) {
  std::erase_if(found.values, [&](const Candidate& each) { return !each.value.starts_with(partial); });
}

class Line {
 public:
  Line(const std::vector<CommandText>& commands, const AskServer& ask) : commands_(commands), ask_(ask) {}

  void read(const std::string& word) {
    if (waiting_ != nullptr) {
      waiting_ = nullptr;
    } else if (word == "--" && !plain_) {
      plain_ = true;
    } else if (!plain_ && word.size() > 1 && word.front() == '-') {
      const Option* option = find_option(word.substr(0, word.find('=')));
      if (option != nullptr && !option->value.empty() && word.find('=') == std::string::npos) waiting_ = option;
    } else if (const CommandText* below = find(joined(word)); below != nullptr && plain_words_.empty()) {
      command_ = below->name;
    } else {
      plain_words_.push_back(word);
    }
  }

  Candidates finish(const std::string& partial) const {
    if (waiting_ != nullptr) return value_of(*waiting_, partial);
    if (const std::size_t equals = partial.find('='); partial.starts_with("--") && equals != std::string::npos) {
      const Option* option = find_option(partial.substr(0, equals));
      Candidates found = option != nullptr ? value_of(*option, partial.substr(equals + 1)) : Candidates();
      for (Candidate& each : found.values) each.value.insert(0, partial.substr(0, equals + 1));
      return found;
    }
    Candidates found;
    if (!plain_ && partial.starts_with('-')) {
      add_options(found, find(command_));
      if (!command_.empty()) add_options(found, find(""));
      found.values.push_back({"--help", "what it does, and its options"});
    } else if (const auto below = commands_below(); !below.empty()) {
      found.values = below;
    } else if (const Option* next = next_plain()) {
      return value_of(*next, partial);
    }
    keep_beginning_with(found, partial);
    return found;
  }

 private:
  std::string joined(const std::string& word) const { return command_.empty() ? word : command_ + " " + word; }

  const CommandText* find(const std::string& name) const {
    const auto found =
        std::find_if(commands_.begin(), commands_.end(), [&](const auto& each) { return each.name == name; });
    return found == commands_.end() ? nullptr : &*found;
  }

  const Option* find_option(const std::string& word) const {
    for (const CommandText* command : {find(command_), find("")}) {
      if (command == nullptr) continue;
      for (const Option& option : command->options) {
        if (!option.positional && is_called(option, word)) return &option;
      }
    }
    return nullptr;
  }

  std::vector<Candidate> commands_below() const {
    std::vector<Candidate> below;
    const std::string head = command_.empty() ? "" : command_ + " ";
    for (const CommandText& each : commands_) {
      if (each.name.empty() || !each.name.starts_with(head)) continue;
      const std::string rest = each.name.substr(head.size());
      if (!rest.empty() && rest.find(' ') == std::string::npos) below.push_back({rest, each.help});
    }
    return below;
  }

  const Option* next_plain() const {
    const CommandText* command = find(command_);
    std::size_t place = 0;
    if (command == nullptr) return nullptr;
    for (const Option& option : command->options) {
      if (option.positional && (place++ == plain_words_.size() || option.many)) return &option;
    }
    return nullptr;
  }

  static void add_options(Candidates& found, const CommandText* command) {
    for (const Option& option : command->options) {
      if (option.positional) continue;
      const std::size_t comma = option.name.rfind(',');
      found.values.push_back({comma == std::string::npos ? option.name : option.name.substr(comma + 1), option.help});
    }
  }

  Candidates value_of(const Option& option, const std::string& partial) const {
    Candidates found;
    found.values = words_of(option.value);
    found.files = found.values.empty() && takes_file(option);
    if (found.values.empty() && !found.files) {
      const auto wanted = named_there(command_, option.name, plain_words_.empty() ? "" : plain_words_.back());
      if (wanted) found.values = ask_(*wanted);
    }
    keep_beginning_with(found, partial);
    return found;
  }

  const std::vector<CommandText>& commands_;
  const AskServer& ask_;
  std::string command_;
  std::vector<std::string> plain_words_;
  const Option* waiting_ = nullptr;  // the option whose value comes next
  bool plain_ = false;               // behind "--"
};

// What a person typed of these options, or the environment, or the default.
std::string typed(const std::vector<std::string>& words, const std::string& option, const char* variable,
                  const char* otherwise) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == option && i + 1 < words.size()) return words[i + 1];
    if (words[i].starts_with(option + "=")) return words[i].substr(option.size() + 1);
  }
  const char* set = variable != nullptr ? std::getenv(variable) : nullptr;
  return set != nullptr ? set : otherwise;
}

}  // namespace

Candidates candidates(const std::vector<CommandText>& commands, const std::vector<std::string>& words,
                      const AskServer& ask) {
  Line line(commands, ask);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) line.read(words[i]);
  return line.finish(words.empty() ? "" : words.back());
}

int print_candidates(const std::vector<CommandText>& commands, const std::vector<std::string>& words) {
  ::alarm(3);  // a server that does not answer is as good as none: the shell waits for this process
  OperatorOptions options;
  options.socket = typed(words, "--socket", "SALLYPORT_SOCKET", kDefaultSocket);
  options.url = typed(words, "--url", "SALLYPORT_URL", "");
  options.token_file = typed(words, "--token-file", nullptr, "");
  const Operator speaking(std::move(options));
  const Candidates found =
      candidates(commands, words, [&](const Wanted& wanted) { return speaking.names_there(wanted); });
  for (const Candidate& each : found.values) std::cout << each.value << '\t' << each.says << '\n';
  if (found.files) std::cout << ":files\n";
  return kDone;
}

int print_completion_script(std::string_view shell) {
  std::cout << (shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish);
  return kDone;
}

std::vector<Candidate> Operator::names_there(const Wanted& wanted) const {
  const auto where = address();
  if (!where) return {};
  const auto answer = ask(*where, "GET", wanted.path, "");
  if (!answer || answer->status >= 300) return {};
  const Json json = Json::parse(answer->body, nullptr, false);
  std::vector<Candidate> names;
  const auto add = [&](const Json& item) {
    if (!item.contains(wanted.value)) return;
    const Json& value = item[wanted.value];
    names.push_back({value.is_string() ? value.get<std::string>() : value.dump(), text(item, wanted.says.c_str())});
  };
  for (const Json& item : json.is_object() ? json.value("items", Json::array()) : Json::array()) {
    if (wanted.inside.empty()) {
      add(item);
    } else if (text(item, "name") == wanted.of) {
      for (const Json& each : item[wanted.inside]) add(each);
    }
  }
  return names;
}

}  // namespace sallyport
