// A compiler, as small as one can be: expressions over 32-bit x, and passes that rewrite them.
//
// compile(program, passes) takes prefix notation ("mul add x 1 8") and names of passes ("fold strength"), runs the
// passes in that order, and returns the rewritten program. What is no program, or no pass, raises ValueError.
//
// It has one bug. `merge` makes one shift of two without a look at the sum, and `legalize` relies on shifts below 32.
// To see it, a program must shift twice, by 32 or more together; and since a program cannot say "shift", `strength`
// must have made both of multiplications, `merge` must come after it and `legalize` after that.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cassert>
#include <cstdint>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum class Op { Number, X, Add, Mul, Neg, Shl };

struct Node {
  Op op;
  uint32_t value = 0;  // of a number, or how far to shift
  std::vector<std::unique_ptr<Node>> in;
};
using Tree = std::unique_ptr<Node>;

Tree leaf(Op op, uint32_t value = 0) {
  auto node = std::make_unique<Node>();
  node->op = op;
  node->value = value;
  return node;
}

bool is_number(const Tree &tree) { return tree->op == Op::Number; }

Tree parse(std::istringstream &text, int depth = 0) {
  std::string word;
  if (depth > 64 || !(text >> word)) throw std::invalid_argument("not a program");
  if (word == "x") return leaf(Op::X);
  int inputs = word == "neg" ? 1 : word == "add" || word == "mul" ? 2 : 0;
  if (inputs == 0) {
    if (word.size() > 10 || word.find_first_not_of("0123456789") != std::string::npos)
      throw std::invalid_argument("no such word: " + word);
    return leaf(Op::Number, static_cast<uint32_t>(std::stoull(word)));
  }
  Tree node = leaf(word == "neg" ? Op::Neg : word == "add" ? Op::Add : Op::Mul);
  while (inputs--) node->in.push_back(parse(text, depth + 1));
  return node;
}

void print(const Tree &tree, std::ostringstream &out) {
  static const char *const names[] = {"", "x", "add", "mul", "neg", "shl"};
  if (is_number(tree)) out << tree->value;
  else out << names[static_cast<int>(tree->op)];
  if (tree->op == Op::Shl) out << tree->value;
  for (const Tree &input : tree->in) out << ' ', print(input, out);
}

// Numbers alone are one number.
Tree fold(Tree tree) {
  for (const Tree &input : tree->in)
    if (!is_number(input)) return tree;
  switch (tree->op) {
    case Op::Add: return leaf(Op::Number, tree->in[0]->value + tree->in[1]->value);
    case Op::Mul: return leaf(Op::Number, tree->in[0]->value * tree->in[1]->value);
    case Op::Neg: return leaf(Op::Number, -tree->in[0]->value);
    default: return tree;
  }
}

// x + 0, x * 1, x * 0, --x.
Tree simplify(Tree tree) {
  if (tree->op == Op::Neg && tree->in[0]->op == Op::Neg) return std::move(tree->in[0]->in[0]);
  if (tree->op != Op::Add && tree->op != Op::Mul) return tree;
  for (int at : {0, 1}) {
    if (!is_number(tree->in[at])) continue;
    uint32_t value = tree->in[at]->value;
    if (value == (tree->op == Op::Mul ? 1u : 0u)) return std::move(tree->in[1 - at]);
    if (value == 0) return leaf(Op::Number, 0);
  }
  return tree;
}

// Numbers go to the right.
Tree canonicalize(Tree tree) {
  if ((tree->op == Op::Add || tree->op == Op::Mul) && is_number(tree->in[0])) std::swap(tree->in[0], tree->in[1]);
  return tree;
}

// x * 2^n is x << n, if the number is on the right.
Tree strength(Tree tree) {
  if (tree->op != Op::Mul || !is_number(tree->in[1])) return tree;
  uint32_t value = tree->in[1]->value;
  if (value < 2 || (value & (value - 1)) != 0) return tree;
  Tree shift = leaf(Op::Shl, static_cast<uint32_t>(__builtin_ctz(value)));
  shift->in.push_back(std::move(tree->in[0]));
  return shift;
}

// x << m << n is x << (m + n). The bug: that may be 32 and more, and then the result is 0.
Tree merge(Tree tree) {
  if (tree->op != Op::Shl || tree->in[0]->op != Op::Shl) return tree;
  tree->value += tree->in[0]->value;
  tree->in[0] = std::move(tree->in[0]->in[0]);
  return tree;
}

// The machine shifts by 5 bits' worth.
Tree legalize(Tree tree) {
  if (tree->op == Op::Shl) assert(tree->value < 32 && "a shift that the machine does not have");
  return tree;
}

struct Pass {
  const char *name;
  Tree (*rewrite)(Tree);
};
const Pass PASSES[] = {{"fold", fold},         {"simplify", simplify}, {"canonicalize", canonicalize},
                       {"strength", strength}, {"merge", merge},       {"legalize", legalize}};

Tree everywhere(Tree tree, Tree (*rewrite)(Tree)) {
  for (Tree &input : tree->in) input = everywhere(std::move(input), rewrite);
  return rewrite(std::move(tree));
}

std::string compile(const char *program, const char *passes) {
  std::istringstream text(program), names(passes);
  Tree tree = parse(text);
  std::string name;
  while (names >> name) {
    const Pass *found = nullptr;
    for (const Pass &pass : PASSES)
      if (name == pass.name) found = &pass;
    if (!found) throw std::invalid_argument("no such pass: " + name);
    tree = everywhere(std::move(tree), found->rewrite);
  }
  std::ostringstream out;
  print(tree, out);
  return out.str();
}

PyObject *compile_py(PyObject *, PyObject *arguments) {
  const char *program, *passes;
  if (!PyArg_ParseTuple(arguments, "ss", &program, &passes)) return nullptr;
  try {
    return PyUnicode_FromString(compile(program, passes).c_str());
  } catch (const std::invalid_argument &error) {
    PyErr_SetString(PyExc_ValueError, error.what());
    return nullptr;
  }
}

PyMethodDef methods[] = {{"compile", compile_py, METH_VARARGS, nullptr}, {}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "passes", nullptr, -1, methods};

}  // namespace

PyMODINIT_FUNC PyInit_passes() { return PyModule_Create(&module); }
