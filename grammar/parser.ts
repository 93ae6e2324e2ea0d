// The grammar: rules only, no meaning. grammar/heddle.ebnf says the same in a page.
// Statements are separated by mandatory line ends or `;`, so that recovery after a mistake always finds the next statement.

import { CstParser, tokenMatcher } from "chevrotain";
import type { CstNode, ParserMethod } from "chevrotain";
import { expectedTokenNames } from "./syntax_errors.ts";
import * as t from "./tokens.ts";

type Rule = ParserMethod<[], CstNode>;

export class HeddleParser extends CstParser {
  constructor() {
    super(t.allTokens, {
      recoveryEnabled: true,
      maxLookahead: 3,
      nodeLocationTracking: "onlyOffset",
      errorMessageProvider: expectedTokenNames,
    });
    this.performSelfAnalysis();
  }

  // ------------------------------------------------------------ file and declarations

  file: Rule = this.RULE("file", () => {
    this.OPTION(() => this.SUBRULE(this.item));
    this.MANY(() => {
      this.SUBRULE(this.separator);
      this.OPTION1(() => this.SUBRULE1(this.item));
    });
  });

  separator: Rule = this.RULE("separator", () => {
    this.OR([{ ALT: () => this.CONSUME(t.Newline) }, { ALT: () => this.CONSUME(t.Semicolon) }]);
  });

  /**
   * A declaration or a member. Which of them may stand where is checked on the tree: a `tokens` at the top of a file
   * is one clear message there, and a page of them here.
   */
  item: Rule = this.RULE("item", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.use) },
      { ALT: () => this.SUBRULE(this.layer) },
      { ALT: () => this.SUBRULE(this.fn) },
      { ALT: () => this.SUBRULE(this.mask) },
      { ALT: () => this.SUBRULE(this.score) },
      { ALT: () => this.SUBRULE(this.router) },
      { ALT: () => this.SUBRULE(this.route) },
      { ALT: () => this.SUBRULE(this.process) },
      { ALT: () => this.SUBRULE(this.tokenizer) },
      { ALT: () => this.SUBRULE(this.model) },
      { ALT: () => this.SUBRULE(this.variant) },
      { ALT: () => this.SUBRULE(this.stage) },
      { ALT: () => this.SUBRULE(this.train) },
      { ALT: () => this.SUBRULE(this.weights) },
      { ALT: () => this.SUBRULE(this.axes) },
      { ALT: () => this.SUBRULE(this.whenMember) },
      { ALT: () => this.SUBRULE(this.repeatMember) },
      { ALT: () => this.SUBRULE(this.streamMember) },
      { ALT: () => this.SUBRULE(this.task) },
      { ALT: () => this.SUBRULE(this.attribute) },
      { ALT: () => this.SUBRULE(this.network) },
      { ALT: () => this.SUBRULE(this.binding) },
      { ALT: () => this.SUBRULE(this.method) },
      { ALT: () => this.SUBRULE(this.loss) },
    ]);
  });

  use: Rule = this.RULE("use", () => {
    this.CONSUME(t.Use);
    this.CONSUME(t.Name);
    this.MANY(() => {
      this.CONSUME(t.Dot);
      this.CONSUME1(t.Name);
    });
    this.OPTION(() => {
      this.CONSUME(t.LCurly);
      this.MANY1(() => this.CONSUME(t.Newline));
      this.SUBRULE(this.useName);
      this.MANY2(() => {
        this.CONSUME(t.Comma);
        this.SUBRULE1(this.useName);
      });
      this.MANY3(() => this.CONSUME1(t.Newline));
      this.CONSUME(t.RCurly);
    });
  });

  useName: Rule = this.RULE("useName", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.As);
      this.CONSUME1(t.Name);
    });
  });

  layer: Rule = this.RULE("layer", () => {
    this.CONSUME(t.Layer);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.SUBRULE(this.members);
  });

  fn: Rule = this.RULE("fn", () => {
    this.CONSUME(t.Fn);
    this.CONSUME(t.Name);
    this.SUBRULE(this.params);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  mask: Rule = this.RULE("mask", () => {
    this.CONSUME(t.Mask);
    this.CONSUME(t.Name);
    this.MANY(() => this.SUBRULE(this.params));
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  score: Rule = this.RULE("score", () => {
    this.CONSUME(t.Score);
    this.CONSUME(t.Name);
    this.MANY(() => this.SUBRULE(this.params));
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  router: Rule = this.RULE("router", () => {
    this.CONSUME(t.Router);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.SUBRULE(this.members);
  });

  route: Rule = this.RULE("route", () => {
    this.CONSUME(t.Route);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  process: Rule = this.RULE("process", () => {
    this.CONSUME(t.Process);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.OPTION1(() => {
      this.CONSUME(t.On);
      this.CONSUME1(t.Name);
      this.MANY(() => {
        this.CONSUME(t.Comma);
        this.CONSUME2(t.Name);
      });
    });
    this.SUBRULE(this.valueOrMembers);
  });

  tokenizer: Rule = this.RULE("tokenizer", () => {
    this.CONSUME(t.Tokenizer);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.SUBRULE(this.valueOrMembers);
  });

  valueOrMembers: Rule = this.RULE("valueOrMembers", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Equals);
          this.SUBRULE(this.expression);
        },
      },
      { ALT: () => this.SUBRULE(this.members) },
    ]);
  });

  model: Rule = this.RULE("model", () => {
    this.CONSUME(t.Model);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.SUBRULE(this.members);
  });

  variant: Rule = this.RULE("variant", () => {
    this.CONSUME(t.Variant);
    this.CONSUME(t.Name);
    this.CONSUME(t.Of);
    this.CONSUME1(t.Name);
    this.SUBRULE(this.members);
  });

  stage: Rule = this.RULE("stage", () => {
    this.CONSUME(t.Stage);
    this.CONSUME(t.Name);
    this.SUBRULE(this.members);
  });

  train: Rule = this.RULE("train", () => {
    this.CONSUME(t.Train);
    this.SUBRULE(this.members);
  });

  params: Rule = this.RULE("params", () => {
    this.CONSUME(t.LParen);
    this.OPTION(() => {
      this.SUBRULE(this.param);
      this.MANY({
        // A comma may also close the list.
        GATE: () => this.LA(2).tokenType !== t.RParen,
        DEF: () => {
          this.CONSUME(t.Comma);
          this.SUBRULE1(this.param);
        },
      });
      this.OPTION1(() => this.CONSUME1(t.Comma));
    });
    this.CONSUME(t.RParen);
  });

  param: Rule = this.RULE("param", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.axisNames));
    this.OPTION1(() => {
      this.CONSUME(t.Colon);
      this.SUBRULE(this.paramKind);
    });
    this.OPTION2(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
  });

  paramKind: Rule = this.RULE("paramKind", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Name) },
      {
        ALT: () => {
          this.CONSUME(t.LSquare);
          this.CONSUME1(t.Name);
          this.CONSUME(t.RSquare);
        },
      },
    ]);
  });

  axisNames: Rule = this.RULE("axisNames", () => {
    this.CONSUME(t.LSquare);
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.MANY(() => {
        this.CONSUME(t.Comma);
        this.CONSUME1(t.Name);
      });
    });
    this.CONSUME(t.RSquare);
  });

  // ------------------------------------------------------------ members

  members: Rule = this.RULE("members", () => {
    this.CONSUME(t.LCurly);
    this.OPTION(() => this.SUBRULE(this.item));
    this.MANY(() => {
      this.SUBRULE(this.separator);
      this.OPTION1(() => this.SUBRULE1(this.item));
    });
    this.CONSUME(t.RCurly);
  });

  /** `d = 1024`, `blocks[i] = …` */
  binding: Rule = this.RULE("binding", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Identifier);
          this.CONSUME(t.LSquare);
          this.SUBRULE(this.expression);
          this.CONSUME(t.RSquare);
        },
      },
      { ALT: () => this.CONSUME(t.Name) },
    ]);
    this.CONSUME(t.Equals);
    this.SUBRULE1(this.expression);
  });

  /**
   * `forward x[t, d] = …`, `forward (x[t, d], c[s, d]) = …`. A body in braces is read too: it is a declaration
   * with a mistyped first word.
   */
  method: Rule = this.RULE("method", () => {
    this.CONSUME(t.Identifier);
    this.OR([
      {
        ALT: () => {
          this.SUBRULE(this.methodInput);
          this.MANY(() => this.SUBRULE(this.params));
          this.SUBRULE(this.valueOrMembers);
        },
      },
      {
        ALT: () => {
          this.SUBRULE1(this.params);
          this.SUBRULE1(this.valueOrMembers);
        },
      },
      { ALT: () => this.SUBRULE(this.members) },
    ]);
  });

  methodInput: Rule = this.RULE("methodInput", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.axisNames));
  });

  loss: Rule = this.RULE("loss", () => {
    this.CONSUME(t.Loss);
    this.SUBRULE(this.expression);
  });

  weights: Rule = this.RULE("weights", () => {
    this.OPTION(() => this.CONSUME(t.Frozen));
    this.CONSUME(t.ParamWord);
    this.SUBRULE(this.weightName);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE1(this.weightName);
    });
    this.OPTION1(() => {
      this.OR([{ ALT: () => this.CONSUME(t.Tilde) }, { ALT: () => this.CONSUME(t.Equals) }]);
      this.SUBRULE(this.expression);
    });
    this.OPTION2(() => {
      this.CONSUME(t.By);
      this.SUBRULE1(this.expression);
    });
    this.OPTION3(() => {
      this.CONSUME(t.When);
      this.SUBRULE2(this.expression);
    });
  });

  weightName: Rule = this.RULE("weightName", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.axisNames));
  });

  axes: Rule = this.RULE("axes", () => {
    this.CONSUME(t.Axis);
    this.SUBRULE(this.axisDef);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE1(this.axisDef);
    });
  });

  axisDef: Rule = this.RULE("axisDef", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  whenMember: Rule = this.RULE("whenMember", () => {
    this.CONSUME(t.When);
    this.SUBRULE(this.expression);
    this.SUBRULE(this.members);
    this.OPTION(() => {
      this.CONSUME(t.Else);
      this.OR([{ ALT: () => this.SUBRULE(this.whenMember) }, { ALT: () => this.SUBRULE1(this.members) }]);
    });
  });

  repeatMember: Rule = this.RULE("repeatMember", () => {
    this.CONSUME(t.Repeat);
    this.CONSUME(t.Name);
    this.CONSUME(t.In);
    this.SUBRULE(this.expression);
    this.SUBRULE(this.members);
  });

  /** `tokens text = …`, `embed image = …`, `head image = …`, `sample image = …` */
  streamMember: Rule = this.RULE("streamMember", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Tokens) },
      { ALT: () => this.CONSUME(t.Embed) },
      { ALT: () => this.CONSUME(t.Head) },
      { ALT: () => this.CONSUME(t.Sample) },
    ]);
    this.CONSUME(t.Name);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  attribute: Rule = this.RULE("attribute", () => {
    this.CONSUME(t.Attribute);
    this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.paramKind);
    this.OPTION(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
  });

  network: Rule = this.RULE("network", () => {
    this.CONSUME(t.Network);
    this.CONSUME(t.Name);
    this.SUBRULE(this.members);
  });

  // ------------------------------------------------------------ tasks

  task: Rule = this.RULE("task", () => {
    this.CONSUME(t.Task);
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.params));
    this.CONSUME(t.Equals);
    this.AT_LEAST_ONE(() => this.SUBRULE(this.taskElement));
  });

  taskElement: Rule = this.RULE("taskElement", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.LiteralToken);
          // `<eos>(turn: 1)` sets an attribute; `<sep> (given …)` is followed by a group.
          this.OPTION({ GATE: () => this.LA(1).tokenType === t.LParen && this.LA(3).tokenType === t.Colon, DEF: () => this.SUBRULE(this.args) });
        },
      },
      { ALT: () => this.SUBRULE(this.taskSegment) },
      { ALT: () => this.SUBRULE(this.taskGroup) },
      { ALT: () => this.SUBRULE(this.taskRepeat) },
    ]);
  });

  taskSegment: Rule = this.RULE("taskSegment", () => {
    this.OR([{ ALT: () => this.CONSUME(t.Given) }, { ALT: () => this.CONSUME(t.Predict) }, { ALT: () => this.CONSUME(t.Beside) }]);
    this.MANY(() => this.SUBRULE(this.taskModifier));
    this.OR1([
      {
        ALT: () => {
          this.CONSUME(t.Name);
          this.OPTION(() => this.SUBRULE(this.args));
        },
      },
      { ALT: () => this.SUBRULE(this.taskGroup) },
    ]);
  });

  taskModifier: Rule = this.RULE("taskModifier", () => {
    this.CONSUME(t.Drop);
    this.SUBRULE(this.args);
  });

  taskGroup: Rule = this.RULE("taskGroup", () => {
    this.CONSUME(t.LParen);
    this.SUBRULE(this.taskChoices);
    this.CONSUME(t.RParen);
  });

  taskRepeat: Rule = this.RULE("taskRepeat", () => {
    this.CONSUME(t.LCurly);
    this.SUBRULE(this.taskChoices);
    this.CONSUME(t.RCurly);
    this.CONSUME(t.Star);
  });

  taskChoices: Rule = this.RULE("taskChoices", () => {
    this.SUBRULE(this.taskSequence);
    this.MANY(() => {
      this.CONSUME(t.Bar);
      this.SUBRULE1(this.taskSequence);
    });
  });

  taskSequence: Rule = this.RULE("taskSequence", () => {
    this.MANY(() => this.CONSUME(t.Newline));
    this.AT_LEAST_ONE(() => {
      this.SUBRULE(this.taskElement);
      this.MANY1(() => this.CONSUME1(t.Newline));
    });
  });

  // ------------------------------------------------------------ expressions, loosest first

  expression: Rule = this.RULE("expression", () => {
    this.SUBRULE(this.conjunction);
    this.MANY(() => {
      this.CONSUME(t.Bar);
      this.SUBRULE1(this.conjunction);
    });
  });

  conjunction: Rule = this.RULE("conjunction", () => {
    this.SUBRULE(this.comparison);
    this.MANY(() => {
      this.CONSUME(t.Amp);
      this.SUBRULE1(this.comparison);
    });
  });

  comparison: Rule = this.RULE("comparison", () => {
    this.SUBRULE(this.range);
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.EqualEqual) },
        { ALT: () => this.CONSUME(t.NotEqual) },
        { ALT: () => this.CONSUME(t.LessEqual) },
        { ALT: () => this.CONSUME(t.GreaterEqual) },
        { ALT: () => this.CONSUME(t.Less) },
        { ALT: () => this.CONSUME(t.Greater) },
      ]);
      this.SUBRULE1(this.range);
    });
  });

  range: Rule = this.RULE("range", () => {
    this.SUBRULE(this.sum);
    this.OPTION(() => {
      this.CONSUME(t.DotDot);
      this.SUBRULE1(this.sum);
    });
  });

  sum: Rule = this.RULE("sum", () => {
    this.SUBRULE(this.product);
    this.MANY(() => {
      this.OR([{ ALT: () => this.CONSUME(t.Plus) }, { ALT: () => this.CONSUME(t.Minus) }]);
      this.SUBRULE1(this.product);
    });
  });

  product: Rule = this.RULE("product", () => {
    this.SUBRULE(this.prefix);
    this.MANY(() => {
      this.OR([
        { ALT: () => this.CONSUME(t.Star) },
        { ALT: () => this.CONSUME(t.Slash) },
        { ALT: () => this.CONSUME(t.Percent) },
      ]);
      this.SUBRULE1(this.prefix);
    });
  });

  prefix: Rule = this.RULE("prefix", () => {
    this.OR([
      {
        ALT: () => {
          this.OR1([{ ALT: () => this.CONSUME(t.Minus) }, { ALT: () => this.CONSUME(t.Bang) }]);
          this.SUBRULE(this.prefix);
        },
      },
      { ALT: () => this.SUBRULE(this.power) },
    ]);
  });

  power: Rule = this.RULE("power", () => {
    this.SUBRULE(this.postfix);
    this.OPTION(() => {
      this.CONSUME(t.StarStar);
      this.SUBRULE(this.prefix);
    });
  });

  postfix: Rule = this.RULE("postfix", () => {
    this.SUBRULE(this.primary);
    this.MANY(() => this.SUBRULE(this.suffix));
  });

  suffix: Rule = this.RULE("suffix", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Dot);
          this.CONSUME(t.Name);
        },
      },
      { ALT: () => this.SUBRULE(this.brackets) },
      { ALT: () => this.SUBRULE(this.args) },
    ]);
  });

  brackets: Rule = this.RULE("brackets", () => {
    this.CONSUME(t.LSquare);
    this.SUBRULE(this.items);
    this.OPTION(() => {
      this.CONSUME(t.Arrow);
      this.SUBRULE1(this.items);
    });
    this.CONSUME(t.RSquare);
  });

  items: Rule = this.RULE("items", () => {
    this.SUBRULE(this.expression);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE1(this.expression);
    });
  });

  args: Rule = this.RULE("args", () => {
    this.CONSUME(t.LParen);
    this.OPTION(() => {
      this.SUBRULE(this.arg);
      this.MANY({
        GATE: () => this.LA(2).tokenType !== t.RParen,
        DEF: () => {
          this.CONSUME(t.Comma);
          this.SUBRULE1(this.arg);
        },
      });
      this.OPTION1(() => this.CONSUME1(t.Comma));
    });
    this.CONSUME(t.RParen);
  });

  /** `name = value` is read here and reported with a fix when the tree is built. */
  arg: Rule = this.RULE("arg", () => {
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.OR([{ ALT: () => this.CONSUME(t.Colon) }, { ALT: () => this.CONSUME(t.Equals) }]);
    });
    this.SUBRULE(this.expression);
  });

  primary: Rule = this.RULE("primary", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.NumberToken) },
      { ALT: () => this.CONSUME(t.StringToken) },
      { ALT: () => this.CONSUME(t.True) },
      { ALT: () => this.CONSUME(t.False) },
      { ALT: () => this.SUBRULE(this.when) },
      { ALT: () => this.SUBRULE(this.by) },
      { ALT: () => this.SUBRULE(this.lambda) },
      { ALT: () => this.SUBRULE(this.stack) },
      { ALT: () => this.SUBRULE(this.axis) },
      { ALT: () => this.SUBRULE(this.parens) },
      { ALT: () => this.SUBRULE(this.list) },
      { ALT: () => this.SUBRULE(this.block) },
      { ALT: () => this.CONSUME(t.Name) },
    ]);
  });

  when: Rule = this.RULE("when", () => {
    this.CONSUME(t.When);
    this.SUBRULE(this.expression);
    this.OPTION(() => this.CONSUME(t.Then));
    this.SUBRULE1(this.expression);
    this.CONSUME(t.Else);
    this.SUBRULE2(this.expression);
  });

  by: Rule = this.RULE("by", () => {
    this.CONSUME(t.By);
    this.CONSUME(t.Name);
    this.MANY(() => {
      this.CONSUME(t.Dot);
      this.CONSUME1(t.Name);
    });
    this.CONSUME(t.LCurly);
    this.OPTION(() => this.SUBRULE(this.byCase));
    this.MANY1(() => {
      this.SUBRULE(this.separator);
      this.OPTION1(() => this.SUBRULE1(this.byCase));
    });
    this.CONSUME(t.RCurly);
  });

  byCase: Rule = this.RULE("byCase", () => {
    this.OR([{ ALT: () => this.CONSUME(t.Else) }, { ALT: () => this.SUBRULE(this.items) }]);
    this.CONSUME(t.Arrow);
    // A branch may be called `frozen`.
    this.OPTION({
      GATE: () => tokenMatcher(this.LA(2), t.Name) && !(this.LA(2).tokenType === t.From && tokenMatcher(this.LA(3), t.Name)),
      DEF: () => this.CONSUME(t.Frozen),
    });
    this.SUBRULE1(this.expression);
    this.OPTION1(() => {
      this.CONSUME(t.From);
      this.CONSUME(t.Name);
    });
  });

  lambda: Rule = this.RULE("lambda", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.FatArrow);
    this.SUBRULE(this.expression);
  });

  stack: Rule = this.RULE("stack", () => {
    this.CONSUME(t.Stack);
    this.CONSUME(t.LParen);
    this.SUBRULE(this.expression);
    this.CONSUME(t.RParen);
    this.SUBRULE1(this.expression);
  });

  axis: Rule = this.RULE("axis", () => {
    this.CONSUME(t.Axis);
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.Equals);
      this.SUBRULE(this.expression);
    });
  });

  parens: Rule = this.RULE("parens", () => {
    this.CONSUME(t.LParen);
    this.SUBRULE(this.items);
    this.CONSUME(t.RParen);
  });

  list: Rule = this.RULE("list", () => {
    this.CONSUME(t.LSquare);
    this.OPTION(() => {
      this.SUBRULE(this.expression);
      this.MANY({
        GATE: () => this.LA(2).tokenType !== t.RSquare,
        DEF: () => {
          this.CONSUME(t.Comma);
          this.SUBRULE1(this.expression);
        },
      });
      this.OPTION1(() => this.CONSUME1(t.Comma));
    });
    this.CONSUME(t.RSquare);
  });

  // ------------------------------------------------------------ blocks

  block: Rule = this.RULE("block", () => {
    this.CONSUME(t.LCurly);
    this.OPTION(() => this.SUBRULE(this.statement));
    this.MANY(() => {
      this.SUBRULE(this.separator);
      this.OPTION1(() => this.SUBRULE1(this.statement));
    });
    this.CONSUME(t.RCurly);
  });

  statement: Rule = this.RULE("statement", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.letStatement) },
      { ALT: () => this.SUBRULE(this.repeatStatement) },
      { ALT: () => this.SUBRULE(this.assignment) },
      { ALT: () => this.SUBRULE(this.expression) },
    ]);
  });

  letStatement: Rule = this.RULE("letStatement", () => {
    this.CONSUME(t.Let);
    this.SUBRULE(this.letTarget);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE1(this.letTarget);
    });
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  letTarget: Rule = this.RULE("letTarget", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.SUBRULE(this.axisNames));
  });

  assignment: Rule = this.RULE("assignment", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.Equals);
    this.SUBRULE(this.expression);
  });

  repeatStatement: Rule = this.RULE("repeatStatement", () => {
    this.CONSUME(t.Repeat);
    this.CONSUME(t.Name);
    this.CONSUME(t.In);
    this.SUBRULE(this.expression);
    this.SUBRULE(this.block);
  });
}
